"""The tokenizer that a published model brings, from the files of its checkpoint.

    tokenizer = read_tokenizer("checkpoints/bert-base-uncased")

`tokenizer.json` (all that `transformers` 5 saves) is taken as it is; else BERT's
`vocab.txt`, CLIP's or GPT-2's or OPT's `vocab.json` and `merges.txt` become what
`transformers` 5 makes of them: the same ids for every caption. Special tokens written
in a caption are text.
"""

import json
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from clipseed.errors import InputError
from clipseed.io import storage
from models.pretrained.checkpoint import read_json
from models.tokenizers.byte_pairs import (
    CLIP_END,
    CLIP_START,
    CLIP_WORDS,
    GPT2,
    OPT,
    Merge,
    byte_level_bpe,
    clip_bpe,
    read_ids,
    read_merges,
)
from models.tokenizers.caption_tokenizer import CaptionTokenizer, frame
from models.tokenizers.wordpiece import (
    END,
    PAD,
    START,
    UNKNOWN,
    check_vocabulary,
    read_vocabulary,
)

_TOKENIZER, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_WORDS, _IDS, _MERGES = "vocab.txt", "vocab.json", "merges.txt"
_MAX_BYTES = 1 << 26


def read_tokenizer(directory: str) -> CaptionTokenizer:
    """Return the tokenizer of a BERT, a CLIP, a GPT-2 or an OPT.

    Args:
        directory: local or `gs://`.

    Raises:
        InputError: `no_tokenizer` if none of the files is there; `bad_vocabulary` if
            one cannot be used.
    """
    place = {
        name: storage.join(directory, name)
        for name in (_TOKENIZER, _WORDS, _IDS, _MERGES)
    }
    present = {name for name, uri in place.items() if storage.exists(uri)}
    if _TOKENIZER in present:
        return _whole(place[_TOKENIZER], _settings(directory))
    if _WORDS in present:
        return _bert(read_vocabulary(place[_WORDS]), _settings(directory), directory)
    if _MERGES in present:
        ids_uri = place[_IDS] if _IDS in present else None
        return _byte_pairs(place[_MERGES], ids_uri)
    raise InputError(
        "no_tokenizer",
        f"{directory} has no {_TOKENIZER}, {_WORDS} or {_MERGES}: copy the tokenizer's "
        "files beside the weights, or name a vocabulary",
    )


def _bert(
    vocabulary: list[str], settings: dict[str, Any], directory: str
) -> CaptionTokenizer:
    """Return BERT's tokenizer, which may keep case and accents."""
    check_vocabulary(vocabulary)
    switches: dict[str, Any] = {
        name: settings.get(name, default)
        for name, default in (
            ("do_lower_case", True),
            ("strip_accents", None),
            ("tokenize_chinese_chars", True),
        )
    }
    for name, value in switches.items():
        if not isinstance(value, bool) and (name, value) != ("strip_accents", None):
            raise InputError(
                "bad_vocabulary",
                f"{_SETTINGS} of {directory} has {name} = {value!r}: use true or false",
            )
    ids = {token: number for number, token in enumerate(vocabulary)}
    library = tokenizers.Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN))
    library.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=switches["tokenize_chinese_chars"],
        strip_accents=switches["strip_accents"],
        lowercase=switches["do_lower_case"],
    )
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    frame(library, START, END, PAD)
    return CaptionTokenizer(library)


def _byte_pairs(merges_uri: str, ids_uri: str | None) -> CaptionTokenizer:
    """Return the tokenizer of a list of merges: whose it is, its tokens tell."""
    merges = read_merges(merges_uri)
    if ids_uri is None:
        return clip_bpe(merges)
    ids = read_ids(ids_uri)
    if CLIP_START in ids:
        return _clip(ids, merges, ids_uri)
    return byte_level_bpe(OPT if OPT.pad in ids else GPT2, ids, merges)


def _clip(
    ids: dict[str, int], merges: Sequence[Merge], ids_uri: str
) -> CaptionTokenizer:
    """Return the tokenizer of a CLIP saved by `transformers`.

    Unlike OpenAI's own (`clip_bpe`), it keeps HTML entities and curly quotes.
    """
    needed = (CLIP_START, CLIP_END, *("".join(merge) for merge in merges))
    missing = [token for token in needed if token not in ids]
    if missing:
        raise InputError(
            "bad_vocabulary",
            f"{ids_uri} has no {missing[0]!r}: use {_IDS} and {_MERGES} of one CLIP",
        )
    library = tokenizers.Tokenizer(
        models.BPE(
            ids,
            list(merges),
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            unk_token=CLIP_END,
        )
    )
    library.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    frame(library, CLIP_START, CLIP_END, pad=CLIP_END)
    return CaptionTokenizer(library)


def _settings(directory: str) -> dict[str, Any]:
    try:
        return read_json(directory, _SETTINGS)
    except InputError as error:
        if error.reason == "not_found":
            return {}
        raise


def _whole(uri: str, settings: dict[str, Any]) -> CaptionTokenizer:
    """Return the tokenizer of a `tokenizer.json`, which need not say how it pads."""
    text = storage.read_bytes(uri, _MAX_BYTES).decode(errors="replace")
    try:
        library = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # The library raises plain `Exception`s.
        raise InputError(
            "bad_vocabulary", f"{uri} is not a tokenizer: {error}; copy it again"
        ) from error
    library.encode_special_tokens = True
    if library.padding is None:
        pad = settings.get("pad_token") or _any_pad(text)
        pad = pad.get("content") if isinstance(pad, dict) else pad
        number = library.token_to_id(pad) if isinstance(pad, str) else None
        if number is None:
            raise InputError(
                "bad_vocabulary",
                f"{uri} has no token to pad with, and {_SETTINGS} names none",
            )
        library.enable_padding(pad_id=number, pad_token=pad)
    _frame_if_bare(library, settings)
    return CaptionTokenizer(library)


def _frame_if_bare(library: tokenizers.Tokenizer, settings: dict[str, Any]) -> None:
    """Frame captions where the file does not: GPT-2's names no frame, OPT's no end."""
    padding = library.padding or {}
    library.no_padding()
    bare = len(library.encode("").ids) < 2
    library.enable_padding(**padding)
    names = []
    for name in ("bos_token", "eos_token"):
        token = settings.get(name) or GPT2.end
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and library.token_to_id(token) is not None:
            names.append(token)
    if bare and len(names) == 2:
        frame(library, names[0], names[1], padding["pad_token"])


def _any_pad(text: str) -> str | None:
    """Return the special token that fills rows, by its usual names."""
    added = [token.get("content") for token in json.loads(text).get("added_tokens", [])]
    usual = ("[PAD]", "<pad>", "<|endoftext|>")
    return next((name for name in usual if name in added), None)
