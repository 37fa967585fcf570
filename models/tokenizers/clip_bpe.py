"""CLIP's tokenizer: byte pair encoding over bytes, in lower case.

    tokenizer = ClipBpe(read_merges("bpe_simple_vocab_16e6.txt.gz"))
    ids, mask = tokenizer.encode(["a photo of a cat"])

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision".
The published tokenizer also mends wrongly decoded text (the library ftfy); here only
its everyday part is done: composed characters (NFC), HTML entities, straight quotes.
"""

import gzip
import html
import itertools
import unicodedata
import zlib
from collections.abc import Iterator, Sequence

from clipseed.errors import InputError
from clipseed.io import storage
from models.tokenizers.base import CAPTION_TOKENS, Tokens, pack

# The published file holds more merges than the published model knows.
_MERGES = 49408 - 2 * 256 - 2
_MAX_FILE_BYTES = 16 << 20
# Of a word; merging is quadratic, and what is cropped would not fit a caption.
_MAX_WORD_BYTES = 256
_WORD_END = "</w>"
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_STRAIGHT = str.maketrans("‘’‚‛“”„‟", "''''\"\"\"\"")  # noqa: RUF001 (the quotes)

Merge = tuple[str, str]


def _byte_symbols() -> list[str]:
    """A visible character for each byte, as the published merges write them.

    Returns:
        256 characters; printable Latin-1 stands for itself, what is left for the
        characters from U+0100 on.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    beyond = itertools.count(256)
    return [chr(b if b in printable else next(beyond)) for b in range(256)]


_SYMBOLS = _byte_symbols()


class ClipBpe:
    """Maps captions to CLIP's token ids.

    Args:
        merges: pairs of symbols, the first to be merged first.

    Attributes:
        size: number of token ids: 49,408 with the published merges.
        end_id: of the end token, the largest id.
    """

    def __init__(self, merges: Sequence[Merge]) -> None:
        # Ids follow the order of characters, in which the printable bytes come first.
        symbols = sorted(_SYMBOLS)
        pieces = symbols + [symbol + _WORD_END for symbol in symbols]
        pieces += ["".join(merge) for merge in merges]
        self._ids = {piece: index for index, piece in enumerate(pieces)}
        self._ranks = {merge: rank for rank, merge in enumerate(merges)}
        self._start_id, self.end_id = len(pieces), len(pieces) + 1
        self.size = len(pieces) + 2
        self._words: dict[str, list[int]] = {}

    def encode(self, captions: Sequence[str], length: int = CAPTION_TOKENS) -> Tokens:
        """Maps captions to ids, cropped or padded (by id 0) to `length`.

        Any text can be encoded; special tokens written in a caption are text like any
        other.
        """
        rows = [
            list(itertools.islice(self._caption(caption), length))
            for caption in captions
        ]
        return pack(rows, length, self._start_id, self.end_id, 0)

    def _caption(self, caption: str) -> Iterator[int]:
        for word in words(caption):
            yield from self._pieces(word)

    def _pieces(self, word: str) -> list[int]:
        if word not in self._words:
            data = word.encode("utf-8", "replace")[:_MAX_WORD_BYTES]
            symbols = [_SYMBOLS[byte] for byte in data]
            symbols[-1] += _WORD_END
            self._words[word] = [self._ids[piece] for piece in self._merge(symbols)]
        return self._words[word]

    def _merge(self, symbols: list[str]) -> list[str]:
        while len(symbols) > 1:
            pair = min(itertools.pairwise(symbols), key=self._rank)
            if pair not in self._ranks:
                break
            symbols = _joined(symbols, pair)
        return symbols

    def _rank(self, pair: Merge) -> int:
        return self._ranks.get(pair, len(self._ranks))


def _joined(symbols: list[str], pair: Merge) -> list[str]:
    """Merges a pair wherever it stands, from left to right."""
    joined: list[str] = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            joined.append("".join(pair))
            position += 2
        else:
            joined.append(symbols[position])
            position += 1
    return joined


def words(text: str) -> Iterator[str]:
    """Splits a text as CLIP does, before merges.

    Example:
        `list(words("It's 24&nbsp;°C!")) == ["it", "'s", "2", "4", "°", "c", "!"]`
    """
    unescaped = html.unescape(html.unescape(text))
    plain = unicodedata.normalize("NFC", unescaped).translate(_STRAIGHT)
    for part in plain.lower().split():
        yield from _split(part)


def _split(part: str) -> Iterator[str]:
    """Cuts what has no space into contractions, letters, digits and the rest."""
    position = 0
    while position < len(part):
        short = (c for c in _CONTRACTIONS if part.startswith(c, position))
        end = position + len(next(short, part[position]))
        kind = _kind(part[position])
        if end == position + 1 and kind != "N":
            while end < len(part) and _kind(part[end]) == kind:
                end += 1
        yield part[position:end]
        position = end


def _kind(character: str) -> str:
    """L of letters, N of numbers, else nothing."""
    kind = unicodedata.category(character)[0]
    return kind if kind in "LN" else ""


def read_merges(uri: str) -> list[Merge]:
    """Reads CLIP's `bpe_simple_vocab_16e6.txt`, gzipped or not.

    Raises:
        InputError: `not_found`, `unreadable`, `too_large`; `bad_vocabulary` if it is
            not such a file.
    """
    data = storage.read_bytes(uri, _MAX_FILE_BYTES)
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError("bad_vocabulary", f"{uri} cannot be read: {error}") from error
    header, *lines = text.removesuffix("\n").split("\n")
    merges = [tuple(line.split()) for line in lines[:_MERGES]]
    if "version" not in header or any(len(merge) != 2 for merge in merges):
        raise InputError(
            "bad_vocabulary",
            f"{uri} is no list of merges, two symbols a line under a line with its "
            "version: give CLIP's bpe_simple_vocab_16e6.txt.gz",
        )
    return [(first, second) for first, second in merges]
