"""The tokenizer that a published model brings, from the files of its checkpoint.

    tokenizer = read_tokenizer("checkpoints/bert-base-uncased")

`tokenizer.json` (all that `transformers` 5 saves) is taken as it is; else BERT's
`vocab.txt`, or CLIP's `merges.txt`.
"""

import json
from typing import Any

import tokenizers

from clipseed.errors import InputError
from clipseed.io import storage
from models.pretrained.checkpoint import read_json
from models.tokenizers.byte_pairs import clip_bpe, read_merges
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.wordpiece import read_vocabulary, word_piece

_TOKENIZER, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
_WORDS, _MERGES = "vocab.txt", "merges.txt"
_MAX_BYTES = 1 << 26


def read_tokenizer(directory: str) -> CaptionTokenizer:
    """Return the tokenizer of a BERT or a CLIP.

    Args:
        directory: local or `gs://`.

    Raises:
        InputError: `no_tokenizer` if none of the files is there; `bad_vocabulary` if
            one cannot be used.
    """
    present = [
        name
        for name in (_TOKENIZER, _WORDS, _MERGES)
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
        return clip_bpe(read_merges(storage.join(directory, _MERGES)))
    raise InputError(
        "no_tokenizer",
        f"{directory} has no {_TOKENIZER}, {_WORDS} or {_MERGES}: copy the tokenizer's "
        "files beside the weights, or name a vocabulary",
    )


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
