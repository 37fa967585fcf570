"""What retrieval needs of a model: two encoders into one space."""

from typing import Protocol

import jax

from models.data.clip_inputs import ClipInputs
from models.tokenizers.base import Tokens


class RetrievalModel(Protocol):
    """A model that encodes clips and captions; similarity is the dot product."""

    def encode_clips(self, clips: ClipInputs) -> jax.Array:
        """Return the embeddings of b clips: float32 [b, d], unit norm."""
        ...

    def encode_texts(self, texts: Tokens) -> jax.Array:
        """Return the embeddings of c captions: float32 [c, d], unit norm."""
        ...

    def scale(self) -> jax.Array:
        """Return the factor of similarities before the softmax: float32 []."""
        ...
