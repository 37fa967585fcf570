"""How well a trained model finds clips by caption, and captions by clip.

Every clip is seen in K equally spaced segments; a caption's similarity to a clip is the
mean of those to its segments (protocol of the paper, section 5.2), which is the dot
product with the mean of the segments' embeddings.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from models.clip_dataset import EvaluationData
from models.dual_encoder import RetrievalModel
from models.retrieval_metrics import Retrieval, retrieval
from models.tokens import Tokenizer

_TEXTS_A_BATCH = 64


class EmbeddedRun(NamedTuple):
    """A run's clips and captions in the common space.

    Attributes:
        ids: of the clips.
        clips: float32 [n, d], the mean over a clip's segments; not of unit norm.
        captions: the distinct texts.
        texts: float32 [c, d], unit norm.
        relevant: bool [c, n], whether a clip has a caption; several may have the same.
    """

    ids: list[str]
    clips: np.ndarray
    captions: list[str]
    texts: np.ndarray
    relevant: np.ndarray


class Encoder:
    """A model with its tokeniser, ready to be called on batches of any size.

    Args:
        model: a trained `RetrievalModel`.
        tokenizer: that it was trained with.
    """

    def __init__(self, model: RetrievalModel, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        graph, params = nnx.split(model, nnx.Param)
        self._params = params
        self._clips = jax.jit(
            lambda params, arrays: nnx.merge(graph, params).encode_clips(**arrays)
        )
        self._texts = jax.jit(
            lambda params, ids, mask: nnx.merge(graph, params).encode_texts(ids, mask)
        )

    def clips(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Segments to float32 [b, d]; see `RetrievalModel.encode_clips`."""
        return np.asarray(self._clips(self._params, arrays))

    def texts(self, captions: list[str]) -> np.ndarray:
        """Captions to float32 [c, d]; padded to whole batches."""
        parts = []
        for start in range(0, len(captions), _TEXTS_A_BATCH):
            part = captions[start : start + _TEXTS_A_BATCH]
            filled = part + [""] * (_TEXTS_A_BATCH - len(part))
            tokens = self._tokenizer.encode(filled)
            vectors = self._texts(self._params, tokens.ids, tokens.mask)
            parts.append(np.asarray(vectors)[: len(part)])
        return np.concatenate(parts)


def embed_clips(
    encoder: Encoder, data: EvaluationData, batch: int, without: str = ""
) -> Iterator[tuple[list[str], list[list[str]], np.ndarray]]:
    """Embeds every clip of a run.

    Args:
        encoder: the model.
        data: the clips.
        batch: clips at a time.
        without: `video` or `audio`: what is masked in every clip.

    Yields:
        ids, captions of each clip, and float32 [b, d], the mean over segments.
    """
    for ids, captions, arrays in data.batches(batch):
        if without:
            arrays[f"has_{without}"] = np.zeros_like(arrays[f"has_{without}"])
        vectors = encoder.clips(_padded(arrays, batch * data.count))
        segments = vectors[: len(ids) * data.count].reshape(len(ids), data.count, -1)
        yield ids, captions, segments.mean(axis=1)


def embed_run(
    encoder: Encoder, data: EvaluationData, batch: int = 16, without: str = ""
) -> EmbeddedRun:
    """Embeds the clips of a run, and all their captions."""
    parts = list(embed_clips(encoder, data, batch, without))
    ids = [clip for part in parts for clip in part[0]]
    captions = [texts for part in parts for texts in part[1]]
    distinct = sorted({text for texts in captions for text in texts})
    rows = {text: row for row, text in enumerate(distinct)}
    relevant = np.zeros((len(distinct), len(ids)), bool)
    for clip, texts in enumerate(captions):
        relevant[[rows[text] for text in texts], clip] = True
    clips = np.concatenate([part[2] for part in parts])
    return EmbeddedRun(ids, clips, distinct, encoder.texts(distinct), relevant)


def evaluate(embedded: EmbeddedRun) -> dict[str, Retrieval]:
    """Figures of both directions: `text_to_clip` and `clip_to_text`."""
    similarities = embedded.texts @ embedded.clips.T
    return {
        "text_to_clip": retrieval(similarities, embedded.relevant),
        "clip_to_text": retrieval(similarities.T, embedded.relevant.T),
    }


def _padded(arrays: dict[str, np.ndarray], rows: int) -> dict[str, Any]:
    """Fills the last batch up, so that one compiled program serves all."""
    return {
        name: np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])
        for name, array in arrays.items()
    }
