"""What an embedder is: uint8 images to vectors, and how these become unit-norm."""

from typing import Protocol

import numpy as np

from models.pretrained.resizing import Resizing

# The paper's match threshold (section 3.3), measured for its embedder.
PAPER_THRESHOLD = 0.6


class EmbeddingError(Exception):
    """An embedder could not embed a batch; smaller batches may pass."""


class Embedder(Protocol):
    """What maps images to embeddings.

    Attributes:
        embedder_id: changes whenever the embeddings would.
        dimension: of an embedding.
        resizing: how pictures become the squares that it takes; scaling their values is
            its own work.
        default_threshold: a similarity that separates matches from the rest; None where
            none was measured.
    """

    embedder_id: str
    dimension: int
    resizing: Resizing
    default_threshold: float | None

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 [n, s, s, 3] as float32 [n, d], not necessarily of unit norm.

        Raises:
            EmbeddingError: the batch cannot be embedded.
        """


def unit_rows(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale rows to unit norm.

    Args:
        embeddings: float32 [n, d].

    Returns:
        float32 [m, d] of the rows that have a direction, and bool [n], True for these:
        rows with NaN, infinity or norm 0 have none.
    """
    wide = embeddings.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(axis=1))
    good = np.isfinite(norms) & (norms > 1e-12)
    return (wide[good] / norms[good, None]).astype(np.float32), good
