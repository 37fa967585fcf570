"""WordPiece, BERT's tokenizer (uncased), and a vocabulary for small models.

    tokenizer = WordPiece(read_vocabulary("vocab.txt"))
    ids, mask = tokenizer.encode(["A dog runs on grass."])

Devlin et al., "BERT"; text becomes words by its rules for uncased English (lower case,
accents off, CJK characters and punctuation by themselves), a word the longest pieces of
the vocabulary from left to right.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from clipseed.errors import InputError
from clipseed.io import storage
from models.tokenizers.base import CAPTION_TOKENS, Tokens, pack

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
_NEEDED = (PAD, UNKNOWN, START, END)
_MAX_VOCABULARY_BYTES = 16 << 20
_MAX_WORD = 100  # characters; BERT takes longer ones for unknown

_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """Maps captions to BERT's token ids.

    Attributes:
        size: number of tokens in the vocabulary.

    Raises:
        InputError: `bad_vocabulary` if a special token is missing or a token stands
        twice.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.size = len(vocabulary)
        self._ids = {token: index for index, token in enumerate(vocabulary)}
        missing = [token for token in _NEEDED if token not in self._ids]
        if missing:
            raise InputError(
                "bad_vocabulary",
                f"the vocabulary has no {' and no '.join(missing)}: give BERT's "
                "vocab.txt, one token a line",
            )
        if len(self._ids) < self.size:
            twice = Counter(vocabulary).most_common(1)[0][0]
            raise InputError(
                "bad_vocabulary", f"the vocabulary has {twice!r} twice: take one out"
            )
        self._words: dict[str, list[int]] = {}

    def encode(self, captions: Sequence[str], length: int = CAPTION_TOKENS) -> Tokens:
        """Maps captions to ids, cropped or padded to `length`.

        A word that is not made of pieces of the vocabulary becomes `[UNK]`; special
        tokens written in a caption are text like any other.
        """
        rows = [
            [piece for word in words(caption) for piece in self._pieces(word)]
            for caption in captions
        ]
        start, end, pad = (self._ids[token] for token in (START, END, PAD))
        return pack(rows, length, start, end, pad)

    def _pieces(self, word: str) -> list[int]:
        if word not in self._words:
            self._words[word] = self._split(word)
        return self._words[word]

    def _split(self, word: str) -> list[int]:
        pieces = []
        start = 0
        while start < len(word) <= _MAX_WORD:
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if prefix + word[start:e] in self._ids), 0)
            if not end:
                return [self._ids[UNKNOWN]]
            pieces.append(self._ids[prefix + word[start:end]])
            start = end
        return pieces or [self._ids[UNKNOWN]]


def words(text: str) -> list[str]:
    """Splits a text as uncased BERT does, before pieces.

    Example:
        `words("Zoë's  犬!") == ["zoe", "'", "s", "犬", "!"]`
    """
    spaced = "".join(map(_spaced, unicodedata.normalize("NFC", text)))
    plain = unicodedata.normalize("NFD", spaced.lower())
    letters = (c for c in plain if unicodedata.category(c) != "Mn")
    return "".join(f" {c} " if _is_punctuation(c) else c for c in letters).split()


def _spaced(character: str) -> str:
    """A character as the splitting into words sees it; nothing for controls."""
    code = ord(character)
    if character in " \t\n\r" or unicodedata.category(character) == "Zs":
        return " "
    if code == 0xFFFD or unicodedata.category(character).startswith("C"):
        return ""
    if any(first <= code <= last for first, last in _CJK):
        return f" {character} "
    return character


def _is_punctuation(character: str) -> bool:
    # BERT counts all that ASCII has beside letters and digits, such as $ and ^.
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character).startswith("P")


# --- vocabularies --------------------------------------------------------------------


def read_vocabulary(uri: str) -> list[str]:
    """Reads BERT's `vocab.txt`: one token a line, its id the number of the line.

    Raises:
        InputError: `not_found`, `unreadable`, `too_large`; `bad_vocabulary` if it is
            not UTF-8.
    """
    data = storage.read_bytes(uri, _MAX_VOCABULARY_BYTES)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("bad_vocabulary", f"{uri} is not UTF-8: {error}") from error
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]


def write_vocabulary(uri: str, vocabulary: Iterable[str]) -> None:
    """Writes a vocabulary as `read_vocabulary` reads it."""
    storage.write_bytes(uri, "".join(f"{t}\n" for t in vocabulary).encode())


def build_vocabulary(captions: Iterable[str], size: int) -> list[str]:
    """Makes a vocabulary of whole words and single characters, for a small model.

    Every character of the captions is in it where there is room, so that a new word
    can still be spelled; what is left goes to the most frequent words. The result
    depends on the captions alone, not on their order.

    Args:
        captions: of the run to train on.
        size: number of tokens, special ones included.

    Returns:
        at most `size` tokens, those of `WordPiece` that are special first.
    """
    counts = Counter(word for caption in captions for word in words(caption))
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        characters[word[0]] += count
        for character in word[1:]:
            characters[f"##{character}"] += count
    whole = Counter({word: n for word, n in counts.items() if len(word) > 1})
    tokens = [PAD, UNKNOWN, START, END, MASK, *_ranked(characters), *_ranked(whole)]
    return tokens[:size]


def _ranked(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda token: (-counts[token], token))
