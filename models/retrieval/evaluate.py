"""How well a trained model finds clips by caption, and captions by clip.

    embedded = embed_run(encoder, EvaluationData("run", encoder.segment))
    evaluate(embedded)["text_to_clip"].recall

Every clip is embedded in K equally spaced segments; a caption's similarity to a clip is
the mean of those to its segments (protocol of the paper, section 5.2), which is the dot
product with the mean of the segments' embeddings.

A clip of a benchmark that is missing, and one that has nothing that the model takes
(such as no sound for a model of sound alone), still count: they are found last.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.data.clip_inputs import ClipInputs, Modality
from models.data.loader import EvaluationData
from models.retrieval.encoder import Encoder
from models.retrieval.metrics import Retrieval, retrieval


class EmbeddedRun(NamedTuple):
    """The clips and captions of a run in the common space.

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


def embed_clips(
    encoder: Encoder, data: EvaluationData, batch: int, masked: Modality | None = None
) -> Iterator[tuple[list[str], list[list[str]], np.ndarray]]:
    """Embed every clip of a run.

    Args:
        encoder: of the model.
        data: the clips.
        batch: clips per batch.
        masked: the modality that is masked in every clip.

    Yields:
        ids, captions of each clip, and float32 [b, d], the mean over segments; zeros
        for a clip that has nothing that the model takes.
    """
    for ids, captions, clips in data.batches(batch):
        if masked:
            clips = clips.without(masked)
        there = clips.present()
        vectors = encoder.clips(_padded(clips, batch * data.count))[: len(there)]
        vectors = np.where(there[:, np.newaxis], vectors, np.float32(0))
        yield ids, captions, vectors.reshape(len(ids), data.count, -1).mean(axis=1)


def embed_run(
    encoder: Encoder,
    data: EvaluationData,
    batch: int = 16,
    masked: Modality | None = None,
) -> EmbeddedRun:
    """Embed the clips of a run, and all their captions.

    In a mined run several clips may have one caption, which then asks for all of them.
    In a benchmark each caption asks for its own clip alone.
    """
    parts = list(embed_clips(encoder, data, batch, masked))
    ids = [clip for part in parts for clip in part[0]]
    captions = [texts for part in parts for texts in part[1]]
    clips = np.concatenate([part[2] for part in parts])
    empty = np.flatnonzero(~clips.any(axis=1)).tolist()
    missing = {ids[row]: "it has nothing that the model takes" for row in empty}
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
    """Return the figures of both directions: `text_to_clip` and `clip_to_text`.

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
    """Return the captions of clips as queries, and which clips each asks for."""
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


def _padded(clips: ClipInputs, rows: int) -> ClipInputs:
    """Fill the last batch up, so that one compiled program serves all."""

    def fill(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])

    return clips.map(fill)
