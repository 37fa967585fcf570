"""The tokenizer of captions: the library `tokenizers`, and what surrounds it here.

    tokenizer = clip_bpe(read_merges("bpe_simple_vocab_16e6.txt.gz"))
    ids, mask = tokenizer.encode(["a photo of a cat"])
    same = CaptionTokenizer.from_json(tokenizer.to_json())

`models.tokenizers.wordpiece` and `models.tokenizers.byte_pairs` make one of a published
vocabulary; `to_json` holds all of it, so that a training run keeps a single file.
"""

import html
import json
from collections.abc import Sequence

import numpy as np
import tokenizers
from tokenizers import processors

from clipseed.errors import InputError
from models.tokenizers.base import CAPTION_TOKENS, Tokens

_FORMAT = "clipseed-tokenizer/1"


class CaptionTokenizer:
    """Maps captions to token ids.

    Special tokens written in a caption are text like any other.

    Args:
        library: splits text into ids and frames them by start and end tokens; with
            padding enabled.
        unescape_html: whether HTML entities are decoded first, twice, as web captions
            are often escaped twice.

    Attributes:
        size: number of token ids.
        end_id: id of the token that ends a caption.
    """

    def __init__(
        self, library: tokenizers.Tokenizer, unescape_html: bool = False
    ) -> None:
        self._library = library
        self._padding = library.padding or {}
        self._unescape_html = unescape_html
        self.size: int = library.get_vocab_size()
        empty = self.encode([""], 2)
        self.end_id = int(empty.ids[0, 1])

    def encode(self, captions: Sequence[str], length: int = CAPTION_TOKENS) -> Tokens:
        """Return the ids of captions, cropped or padded to `length`.

        Args:
            captions: any text; half of a surrogate pair counts as U+FFFD.
            length: tokens per caption; a longer caption keeps its first `length - 2`
                tokens between start and end.

        Raises:
            ValueError: `length` is less than 2.
        """
        if length < 2:
            raise ValueError(f"{length} tokens cannot hold a start and an end token")
        library = self._library
        library.enable_truncation(length)
        library.enable_padding(**self._padding | {"length": length})
        rows = library.encode_batch_fast([self._clean(text) for text in captions])
        ids = np.array([row.ids for row in rows], np.int32)
        mask = np.array([row.attention_mask for row in rows], bool)
        return Tokens(ids.reshape(-1, length), mask.reshape(-1, length))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without special ones and those it does not know.

        Spaces at both ends are taken off.
        """
        return str(self._library.decode(ids, skip_special_tokens=True)).strip()

    def ends(self, token: int) -> bool:
        """Tell whether a token ends a caption and is not part of its text."""
        return token == self.end_id or (
            0 <= token < self.size and not self.decode([token])
        )

    def _clean(self, caption: str) -> str:
        # The library refuses what is not UTF-8: halves of surrogate pairs.
        text = caption.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return html.unescape(html.unescape(text)) if self._unescape_html else text

    def to_json(self) -> str:
        """Return all that `from_json` needs."""
        content = {
            "format": _FORMAT,
            "unescape_html": self._unescape_html,
            "tokenizer": json.loads(self._library.to_str()),
        }
        return json.dumps(content, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CaptionTokenizer":
        """Return the tokenizer that `to_json` described.

        Raises:
            InputError: `bad_tokenizer`.
        """
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}, not {_FORMAT}")
            library = tokenizers.Tokenizer.from_str(json.dumps(content["tokenizer"]))
            return cls(library, bool(content["unescape_html"]))
        except Exception as error:  # The library raises plain `Exception`s.
            raise InputError(
                "bad_tokenizer", f"not a tokenizer that clipseed saved: {error}"
            ) from error


def frame(library: tokenizers.Tokenizer, start: str, end: str, pad: str) -> None:
    """Make a tokenizer frame and pad every caption.

    Args:
        library: changed in place; its vocabulary has the three tokens.
        start: first token of a caption.
        end: last token of a caption.
        pad: token that fills a row.
    """
    ids = [(token, library.token_to_id(token)) for token in dict.fromkeys((start, end))]
    library.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=ids
    )
    library.enable_padding(pad_id=library.token_to_id(pad), pad_token=pad)
