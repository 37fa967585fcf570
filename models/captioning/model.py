"""What the captioning tasks, and those who write with their models, need of a model."""

from typing import Protocol

import jax

from models.backbones.text_decoder.model import Context, TextDecoder
from models.data.clip_inputs import ClipInputs


class ClipCaptioner(Protocol):
    """A model that writes about clips.

    Attributes:
        decoder: of the caption.
    """

    decoder: TextDecoder

    def context(self, clips: ClipInputs) -> Context:
        """Return what the decoder writes about, of each of b clips.

        Args:
            clips: video in [0, 255]; what the model does not take may be None.
        """
        ...

    def __call__(self, clips: ClipInputs, ids: jax.Array) -> jax.Array:
        """Return the logits of each token's successor.

        Args:
            clips: b of them.
            ids: int [r, n], captions from their start token on: the first `r / b` are
                the first clip's.

        Returns:
            float32 [r, n, vocabulary].
        """
        ...
