"""Normalization that several tokenizers share."""

from tokenizers import Regex, normalizers

# A capital sigma that ends a word becomes ς: the library lowercases letter by letter.
LOWERCASE_SIGMA = normalizers.Replace(Regex(r"(?<=[\p{L}\p{M}])Σ(?!\p{M}*\p{L})"), "ς")
