"""How well a trained model finds clips by caption, and captions by clip.

    embedded = embed_run(encoder, EvaluationData("run", segment))
    evaluate(embedded)["text_to_clip"].recall

Every clip is seen in K equally spaced segments; a caption's similarity to a clip is the
mean of those to its segments (protocol of the paper, section 5.2), which is the dot
product with the mean of the segments' embeddings.

A clip of a benchmark that is not at hand, and one that has nothing that the model takes
(no sound for one that listens), stay in the count: they are found last.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from models.data.loader import EvaluationData, present
from models.retrieval.dual_encoder import RetrievalModel
from models.retrieval.metrics import Retrieval, retrieval
from models.tokenizers.base import Tokenizer

_TEXTS_A_BATCH = 64


class EmbeddedRun(NamedTuple):
    """A run's clips and captions in the common space.

    Attributes:
        ids: of the clips.
        clips: float32 [n, d], the mean over a clip's segments; not of unit norm; zeros
            for those missing.
        captions: the queries.
        texts: float32 [c, d], unit norm.
        relevant: bool [c, n], which clips a query asks for.
        missing: why a clip has no embedding, by id.
        alike: queries that the model cannot tell from another, see `Encoder.alike`.
    """

    ids: list[str]
    clips: np.ndarray
    captions: list[str]
    texts: np.ndarray
    relevant: np.ndarray
    missing: dict[str, str]
    alike: int = 0


class Encoder:
    """A model with its tokenizer, ready to be called on batches of any size.

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

    def alike(self, captions: Sequence[str]) -> int:
        """How many captions read like another to the model, though they are not.

        They were cropped where they begin to differ, or have words that it does not
        know, such as those of another script; no model could tell them apart.
        """
        distinct = sorted(set(captions))
        rows = self._tokenizer.encode(distinct).ids
        _, counts = np.unique(rows, axis=0, return_counts=True)
        return int(counts[counts > 1].sum())


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
        ids, captions of each clip, and float32 [b, d], the mean over segments; zeros
        for a clip that has nothing that the model takes.
    """
    for ids, captions, arrays in data.batches(batch):
        if without:
            arrays[f"has_{without}"] = np.zeros_like(arrays[f"has_{without}"])
        there = present(arrays)
        vectors = encoder.clips(_padded(arrays, batch * data.count))[: len(there)]
        vectors = np.where(there[:, np.newaxis], vectors, np.float32(0))
        yield ids, captions, vectors.reshape(len(ids), data.count, -1).mean(axis=1)


def embed_run(
    encoder: Encoder, data: EvaluationData, batch: int = 16, without: str = ""
) -> EmbeddedRun:
    """Embeds the clips of a run, and all their captions.

    A run tells nobody which of equal captions was meant: there a caption asks for every
    clip that has it. In a benchmark each caption asks for its own clip alone.
    """
    parts = list(embed_clips(encoder, data, batch, without))
    ids = [clip for part in parts for clip in part[0]]
    captions = [texts for part in parts for texts in part[1]]
    clips = np.concatenate([part[2] for part in parts])
    empty = np.flatnonzero(~clips.any(axis=1)).tolist()
    missing = {ids[row]: "it has nothing that is measured here" for row in empty}
    benchmark = data.run.benchmark
    for lacking in benchmark.missing if benchmark else ():
        ids.append(lacking.clip_id)
        captions.append(list(lacking.captions))
        missing[lacking.clip_id] = f"{lacking.reason}: {lacking.message}"
    clips = np.pad(clips, ((0, len(ids) - len(clips)), (0, 0)))
    queries, relevant = _queries(captions, shared=benchmark is None)
    texts = encoder.texts(queries)
    alike = encoder.alike(queries)
    return EmbeddedRun(ids, clips, queries, texts, relevant, missing, alike)


def evaluate(embedded: EmbeddedRun, leave_out: bool = False) -> dict[str, Retrieval]:
    """Figures of both directions: `text_to_clip` and `clip_to_text`.

    Args:
        embedded: clips and queries.
        leave_out: measure without the missing clips and their captions, rather than
            count them as found last.
    """
    similarities, relevant = embedded.texts @ embedded.clips.T, embedded.relevant
    there = np.array([name not in embedded.missing for name in embedded.ids])
    if leave_out:
        similarities, relevant = similarities[:, there], relevant[:, there]
        asked = relevant.any(axis=1)
        similarities, relevant = similarities[asked], relevant[asked]
    else:
        # Below every true similarity; for its own captions below even that.
        own = relevant[:, ~there]
        similarities[:, ~there] = np.where(own, -np.inf, np.finfo(np.float32).min)
    return {
        "text_to_clip": retrieval(similarities, relevant),
        "clip_to_text": retrieval(similarities.T, relevant.T),
    }


def _queries(
    captions: Sequence[Sequence[str]], shared: bool
) -> tuple[list[str], np.ndarray]:
    """The captions of clips as queries, and which clips each asks for."""
    if shared:
        queries = sorted({text for texts in captions for text in texts})
        rows = {text: row for row, text in enumerate(queries)}
        owned = [[rows[text] for text in texts] for texts in captions]
    else:
        queries = [text for texts in captions for text in texts]
        ends = np.cumsum([len(texts) for texts in captions]).tolist()
        owned = [
            list(range(end - len(texts), end))
            for end, texts in zip(ends, captions, strict=True)
        ]
    relevant = np.zeros((len(queries), len(captions)), bool)
    for clip, mine in enumerate(owned):
        relevant[mine, clip] = True
    return queries, relevant


def _padded(arrays: dict[str, np.ndarray], rows: int) -> dict[str, Any]:
    """Fills the last batch up, so that one compiled program serves all."""
    return {
        name: np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])
        for name, array in arrays.items()
    }
