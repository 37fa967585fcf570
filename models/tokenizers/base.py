"""Captions as token ids, whichever tokenizer made them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

# Of a caption in the paper and in CLIP4Clip, start and end tokens included.
CAPTION_TOKENS = 32


class Tokens(NamedTuple):
    """A batch of captions.

    Attributes:
        ids: int32 [n, length].
        mask: bool [n, length], False where a caption has ended.
    """

    ids: np.ndarray
    mask: np.ndarray


class Tokenizer(Protocol):
    """What maps captions to token ids.

    Attributes:
        size: number of token ids, which the text encoder must have embeddings for.
    """

    size: int

    def encode(self, captions: Sequence[str], length: int = CAPTION_TOKENS) -> Tokens:
        """Maps captions to ids, cropped or padded to `length`.

        A caption that is empty, or holds nothing that can be seen, becomes its start
        and end tokens.
        """


def pack(
    captions: Sequence[Sequence[int]], length: int, start: int, end: int, pad: int
) -> Tokens:
    """Frames captions by start and end tokens, and brings them to one length.

    Args:
        captions: token ids without the frame.
        length: of a row, 2 or more; of a longer caption the first `length - 2` ids
            stay, and the end token.
        start: first id of a row.
        end: last id of a caption.
        pad: what fills the row.

    Raises:
        ValueError: `length` does not hold the frame.
    """
    if length < 2:
        raise ValueError(f"{length} tokens do not hold a start and an end")
    ids = np.full((len(captions), length), pad, np.int32)
    mask = np.zeros((len(captions), length), bool)
    for row, caption in enumerate(captions):
        framed = [start, *caption[: length - 2], end]
        ids[row, : len(framed)] = framed
        mask[row, : len(framed)] = True
    return Tokens(ids, mask)
