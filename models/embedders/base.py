"""What an embedder is: uint8 images to vectors, and how these become unit-norm."""

from typing import Protocol

import numpy as np

# The paper's match threshold (section 3.3), measured for its embedder.
PAPER_THRESHOLD = 0.6


class EmbeddingError(Exception):
    """An embedder could not embed a batch; smaller batches may pass."""


class Embedder(Protocol):
    """What maps images to embeddings.

    Attributes:
        embedder_id: changes whenever the embeddings would.
        dimension: of an embedding.
        image_size_px: height and width of the images it takes.
        default_threshold: a similarity that separates matches from the rest.
    """

    embedder_id: str
    dimension: int
    image_size_px: int
    default_threshold: float

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeds uint8 [n, s, s, 3] as float32 [n, d], not necessarily of unit norm.

        Raises:
            EmbeddingError: the batch cannot be embedded.
        """


def unit_rows(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales rows to unit norm.

    Args:
        embeddings: float32 [n, d].

    Returns:
        float32 [m, d] of the rows that have a direction, and bool [n] telling which:
        rows with NaN, infinity or norm 0 have none.
    """
    wide = embeddings.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(axis=1))
    good = np.isfinite(norms) & (norms > 1e-12)
    return (wide[good] / norms[good, None]).astype(np.float32), good
