"""The tokenizer that a published model brings, from the files of its checkpoint.

    tokenizer = read_tokenizer("checkpoints/bert-base-uncased")

`tokenizer.json` (all that `transformers` 5 saves) is taken as it is; else BERT's
`vocab.txt`, GPT-2's and OPT's `vocab.json` and `merges.txt`, or CLIP's `merges.txt`.
"""

import json
from typing import Any

import tokenizers

from clipseed.errors import InputError
from clipseed.io import storage
from models.pretrained.checkpoint import read_json
from models.tokenizers.byte_pairs import (
    CLIP_START,
    GPT2,
    OPT,
    byte_level_bpe,
    clip_bpe,
    read_ids,
    read_merges,
)
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.wordpiece import read_vocabulary, word_piece

_TOKENIZER, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_WORDS, _MERGES, _IDS = "vocab.txt", "merges.txt", "vocab.json"
_MAX_BYTES = 1 << 26


def read_tokenizer(directory: str) -> CaptionTokenizer:
    """Return the tokenizer of a BERT, a CLIP, a GPT-2 or an OPT.

    Args:
        directory: local or `gs://`.

    Raises:
        InputError: `no_tokenizer` if none of the files is there; `bad_vocabulary` if
            one cannot be used.
    """
    present = [
        name
        for name in (_TOKENIZER, _WORDS, _MERGES, _IDS)
        if storage.exists(storage.join(directory, name))
    ]
    settings = _settings(directory)
    if _TOKENIZER in present:
        return _whole(storage.join(directory, _TOKENIZER), settings)
    if _WORDS in present:
        if settings.get("do_lower_case") is False:
            raise InputError(
                "bad_vocabulary",
                f"{directory} keeps upper case and has no {_TOKENIZER}: save the "
                "tokenizer again with transformers, which writes one",
            )
        return word_piece(read_vocabulary(storage.join(directory, _WORDS)))
    if _MERGES in present:
        ids_uri = storage.join(directory, _IDS) if _IDS in present else None
        return _byte_pairs(storage.join(directory, _MERGES), ids_uri)
    raise InputError(
        "no_tokenizer",
        f"{directory} has no {_TOKENIZER}, {_WORDS} or {_MERGES}: copy the tokenizer's "
        "files beside the weights, or name a vocabulary",
    )


def _byte_pairs(merges_uri: str, ids_uri: str | None) -> CaptionTokenizer:
    """Return the tokenizer of a list of merges: whose it is, its tokens tell."""
    merges = read_merges(merges_uri)
    ids = {} if ids_uri is None else read_ids(ids_uri)
    if CLIP_START in ids or not ids:
        return clip_bpe(merges)
    return byte_level_bpe(OPT if OPT.pad in ids else GPT2, ids, merges)


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
    return CaptionTokenizer(library)


def _any_pad(text: str) -> str | None:
    """Return the special token that fills rows, by its usual names."""
    added = [token.get("content") for token in json.loads(text).get("added_tokens", [])]
    usual = ("[PAD]", "<pad>", "<|endoftext|>")
    return next((name for name in usual if name in added), None)
