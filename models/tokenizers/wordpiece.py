"""WordPiece, the tokenizer of BERT (uncased), and vocabularies for small models.

    tokenizer = word_piece(read_vocabulary("vocab.txt"))
    ids, mask = tokenizer.encode(["A dog runs on grass."])

Devlin et al., "BERT". Text is split by BERT's rules for uncased English (lower case, no
accents, CJK characters and punctuation by themselves); each word becomes the longest
pieces of the vocabulary from left to right, or `[UNK]`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from clipseed.errors import InputError
from clipseed.io import storage
from models.tokenizers.caption_tokenizer import CaptionTokenizer, frame
from models.tokenizers.normalize import LOWERCASE_SIGMA

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
_NEEDED = (PAD, UNKNOWN, START, END)
_MAX_VOCABULARY_BYTES = 16 << 20
_MAX_WORD = 100  # characters; a longer word is unknown to BERT

# The library's tables for BERT end with Unicode 8 and lack a row of CJK characters; the
# patterns beside them add what has come since.
_NORMALIZER = normalizers.Sequence(
    [
        normalizers.NFC(),
        LOWERCASE_SIGMA,
        normalizers.Replace(Regex(r"\p{Cf}+"), ""),
        normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=True,
            strip_accents=True,
            lowercase=True,
        ),
        normalizers.Replace(Regex(r"\p{Mn}+"), ""),
    ]
)
_SPLITTER = pre_tokenizers.Sequence(
    [
        pre_tokenizers.BertPreTokenizer(),
        pre_tokenizers.Split(
            Regex("[\\p{P}\U0002b820-\U0002b91f]"), behavior="isolated"
        ),
    ]
)


def word_piece(vocabulary: Sequence[str]) -> CaptionTokenizer:
    """Return BERT's tokenizer for a vocabulary.

    Args:
        vocabulary: tokens in the order of their ids.

    Raises:
        InputError: `bad_vocabulary` if a special token is missing or a token is there
            twice.
    """
    check_vocabulary(vocabulary)
    ids = {token: index for index, token in enumerate(vocabulary)}
    model = models.WordPiece(
        vocab=ids, unk_token=UNKNOWN, max_input_chars_per_word=_MAX_WORD
    )
    library = tokenizers.Tokenizer(model)
    library.normalizer = _NORMALIZER
    library.pre_tokenizer = _SPLITTER
    library.decoder = decoders.WordPiece()
    frame(library, START, END, PAD)
    return CaptionTokenizer(library)


def check_vocabulary(vocabulary: Sequence[str]) -> None:
    """Check that a list of tokens can be BERT's.

    Raises:
        InputError: `bad_vocabulary`.
    """
    counts = Counter(vocabulary)
    missing = [token for token in _NEEDED if token not in counts]
    if missing:
        raise InputError(
            "bad_vocabulary",
            f"the vocabulary has no {' and no '.join(missing)}; use BERT's vocab.txt, "
            "one token per line",
        )
    if len(counts) < len(vocabulary):
        twice = counts.most_common(1)[0][0]
        raise InputError(
            "bad_vocabulary", f"the vocabulary has {twice!r} twice; remove one"
        )


def words(text: str) -> list[str]:
    """Split a text as uncased BERT does, before pieces.

    Example:
        `words("Zoë's  犬!") == ["zoe", "'", "s", "犬", "!"]`
    """
    plain = _NORMALIZER.normalize_str(text)
    return [word for word, _ in _SPLITTER.pre_tokenize_str(plain)]


def read_vocabulary(uri: str) -> list[str]:
    """Return the tokens of BERT's `vocab.txt`, one per line in the order of their ids.

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


def learn_vocabulary(captions: Iterable[str], size: int) -> list[str]:
    """Return a vocabulary of single characters and whole words, for a small model.

    Every character of the captions is in it where there is room, so that a new word can
    still be spelled; the rest are the most frequent words. Unlike the WordPiece trainer
    of `tokenizers`, which would learn word pieces: captions of a small run share few
    pieces, and a word that is one token is easier to learn. The result depends on the
    captions alone, not on their order.

    Args:
        captions: of the runs to train on.
        size: number of tokens at most, special ones included.

    Returns:
        At most `size` tokens, the special ones first.
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
