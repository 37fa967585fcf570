"""Captions as token ids, whichever tokenizer made them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import numpy as np

# Length of a caption in the paper and in CLIP4Clip, start and end tokens included.
CAPTION_TOKENS = 32


class Tokens(NamedTuple):
    """A batch of captions.

    Attributes:
        ids: int32 [n, length].
        mask: bool [n, length], False after the end of a caption.
    """

    ids: np.ndarray | jax.Array
    mask: np.ndarray | jax.Array


class Tokenizer(Protocol):
    """Maps captions to token ids.

    Attributes:
        size: number of token ids, each of which the text encoder must embed.
    """

    size: int

    def encode(self, captions: Sequence[str], length: int = CAPTION_TOKENS) -> Tokens:
        """Return the ids of captions, cropped or padded to `length`.

        An empty caption becomes its start and end tokens.
        """
        ...
