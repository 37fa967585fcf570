"""A trained retrieval model, ready to encode clips and captions on the host.

encoder = retrieval_encoder(load_trained("model"))  # models.retrieval.task
similarities = encoder.texts(["a dog runs"]) @ encoder.clips(clips).T
"""

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from models.data.clip_inputs import ClipInputs
from models.data.segments import SegmentConfig
from models.retrieval.model import RetrievalModel
from models.tokenizers.base import Tokenizer

_TEXTS_PER_BATCH = 64


class Encoder:
    """A retrieval model with its tokenizer, compiled for batches.

    Args:
        model: a trained model.
        tokenizer: the one that it was trained with.
        segment: of a clip, that it takes.
    """

    def __init__(
        self, model: RetrievalModel, tokenizer: Tokenizer, segment: SegmentConfig
    ) -> None:
        self.segment = segment
        self._tokenizer = tokenizer
        graph, self._params = nnx.split(model)
        self._clips = jax.jit(
            lambda params, clips: nnx.merge(graph, params).encode_clips(clips)
        )
        self._texts = jax.jit(
            lambda params, texts: nnx.merge(graph, params).encode_texts(texts)
        )

    def clips(self, clips: ClipInputs) -> np.ndarray:
        """Return the embeddings of clips: float32 [b, d]."""
        return np.asarray(self._clips(self._params, clips))

    def texts(self, captions: list[str]) -> np.ndarray:
        """Return the embeddings of captions: float32 [c, d]."""
        parts = []
        for start in range(0, len(captions), _TEXTS_PER_BATCH):
            part = captions[start : start + _TEXTS_PER_BATCH]
            # One compiled program serves every batch.
            filled = part + [""] * (_TEXTS_PER_BATCH - len(part))
            tokens = self._tokenizer.encode(filled)
            vectors = self._texts(self._params, tokens)
            parts.append(np.asarray(vectors)[: len(part)])
        return np.concatenate(parts)

    def alike(self, captions: Sequence[str]) -> int:
        """Return how many captions have the same ids as another, different one.

        They are cropped before they begin to differ, or have words that the tokenizer
        does not know, such as those of another script.
        """
        distinct = sorted(set(captions))
        rows = self._tokenizer.encode(distinct).ids
        _, counts = np.unique(rows, axis=0, return_counts=True)
        return int(counts[counts > 1].sum())
