"""Byte-pair encodings over bytes: the tokenizers of CLIP, GPT-2 and OPT.

    tokenizer = clip_bpe(read_merges("bpe_simple_vocab_16e6.txt.gz"))
    tokenizer = byte_level_bpe(OPT, read_ids("vocab.json"), read_merges("merges.txt"))

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision"
and "Language Models are Unsupervised Multitask Learners"; Zhang et al., "OPT". CLIP's
published tokenizer also repairs wrongly decoded text (the library ftfy); of that only
the everyday part is done here: HTML entities, composed characters, straight quotes.
"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from clipseed.errors import InputError
from clipseed.io import storage
from models.tokenizers.caption_tokenizer import CaptionTokenizer, frame
from models.tokenizers.normalize import LOWERCASE_SIGMA

# CLIP's published file holds more merges than the published model knows.
_CLIP_MERGES = 49408 - 2 * 256 - 2
_MAX_FILE_BYTES = 16 << 20
_WORD_END = "</w>"
CLIP_START, CLIP_END = "<|startoftext|>", "<|endoftext|>"
# Contractions, letters, single digits, and runs of anything else but spaces.
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

Merge = tuple[str, str]


class SpecialTokens(NamedTuple):
    """The tokens that frame and pad a caption."""

    start: str
    end: str
    pad: str


GPT2 = SpecialTokens("<|endoftext|>", "<|endoftext|>", "<|endoftext|>")
OPT = SpecialTokens("</s>", "</s>", "<pad>")


def clip_bpe(merges: Sequence[Merge]) -> CaptionTokenizer:
    """Return CLIP's tokenizer, with 49,408 ids for the published merges.

    Args:
        merges: pairs of symbols, the first to be merged first; none: each byte is a
            token. Those that the published model does not know are left out.
    """
    merges = merges[:_CLIP_MERGES]
    # Ids follow the order of characters, in which the printable bytes come first.
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = symbols + [symbol + _WORD_END for symbol in symbols]
    pieces += ["".join(merge) for merge in merges]
    ids = {piece: index for index, piece in enumerate(pieces)}
    ids |= {CLIP_START: len(pieces), CLIP_END: len(pieces) + 1}
    library = tokenizers.Tokenizer(
        models.BPE(vocab=ids, merges=list(merges), end_of_word_suffix=_WORD_END)
    )
    library.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex("[‘’‚‛]"), "'"),  # noqa: RUF001 (the quotes)
            normalizers.Replace(Regex("[“”„‟]"), '"'),
            normalizers.Replace(Regex(r"[\s\x1c-\x1f]+"), " "),
            LOWERCASE_SIGMA,
            normalizers.Lowercase(),
        ]
    )
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    frame(library, CLIP_START, CLIP_END, pad=pieces[0])
    return CaptionTokenizer(library, unescape_html=True)


def byte_level_bpe(
    special: SpecialTokens, ids: Mapping[str, int], merges: Sequence[Merge]
) -> CaptionTokenizer:
    """Return the tokenizer of GPT-2 and of the models that took it over, such as OPT.

    Args:
        special: `GPT2` or `OPT`.
        ids: id of each token, see `read_ids`.
        merges: see `read_merges`.

    Raises:
        InputError: `bad_vocabulary` if a special token or a merged piece has no id.
    """
    missing = [
        token
        for token in (*special, *("".join(merge) for merge in merges))
        if token not in ids
    ]
    if missing:
        raise InputError(
            "bad_vocabulary",
            f"the vocabulary has no {missing[0]!r}; use vocab.json and merges.txt of "
            "one and the same model",
        )
    library = tokenizers.Tokenizer(models.BPE(vocab=dict(ids), merges=list(merges)))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    frame(library, *special)
    return CaptionTokenizer(library)


def read_merges(uri: str) -> list[Merge]:
    """Return the merges of a published list, gzipped or not.

    Args:
        uri: CLIP's `bpe_simple_vocab_16e6.txt.gz`, or a `merges.txt`.

    Raises:
        InputError: `not_found`, `unreadable`, `too_large`; `bad_vocabulary` if it is
            not such a list.
    """
    data = storage.read_bytes(uri, _MAX_FILE_BYTES)
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError("bad_vocabulary", f"{uri} cannot be read: {error}") from error
    header, *lines = text.removesuffix("\n").split("\n")
    merges = [tuple(line.split()) for line in lines]
    if "version" not in header or any(len(merge) != 2 for merge in merges):
        raise InputError(
            "bad_vocabulary",
            f"{uri} is not a list of merges: expected a line with a version, then two "
            "symbols per line, as in CLIP's bpe_simple_vocab_16e6.txt.gz",
        )
    return [(first, second) for first, second in merges]


def read_ids(uri: str) -> dict[str, int]:
    """Return the ids of the tokens in a published `vocab.json`.

    Raises:
        InputError: `not_found`, `unreadable`, `too_large`; `bad_vocabulary` if it is
            not an object of tokens and ids.
    """
    data = storage.read_bytes(uri, _MAX_FILE_BYTES)
    try:
        ids = json.loads(data)
    except ValueError as error:
        raise InputError("bad_vocabulary", f"{uri} is not JSON: {error}") from error
    if not isinstance(ids, dict) or not all(type(i) is int for i in ids.values()):
        raise InputError("bad_vocabulary", f"{uri} is not a table of tokens and ids")
    return ids
