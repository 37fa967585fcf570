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
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from models.data.clip_inputs import ClipInputs, Modality
from models.data.evaluation import EvaluationData
from models.data.progress import progress
from models.retrieval.encoder import Encoder
from models.retrieval.metrics import Retrieval, retrieval

VideoToText = Literal["frozen", "clip4clip"]


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
    """Embed every clip of a run, and show how many are done.

    Args:
        encoder: of the model.
        data: the clips.
        batch: segments that are encoded at once.
        masked: the modality that is masked in every clip.

    Yields:
        ids, captions of each clip, and float32 [b, d], the mean over segments; zeros
        for a clip that has nothing that the model takes.
    """
    with progress("clips", len(data)) as advance:
        for ids, captions, clips, segments in data.batches(batch):
            if masked:
                clips = clips.without(masked)
            there = clips.present()
            vectors = _encode(encoder, clips, len(there), batch)
            vectors = np.where(there[:, np.newaxis], vectors, np.float32(0))
            yield ids, captions, vectors[segments].mean(axis=1)
            advance(len(ids))


def _encode(encoder: Encoder, clips: ClipInputs, count: int, size: int) -> np.ndarray:
    """Return the embeddings of `count` segments: float32 [count, d].

    Each call is given `size` of them, so that one compiled program serves all.
    """
    parts = []
    for start in range(0, count, size):
        some = clips.map(partial(_filled, start=start, size=size))
        parts.append(encoder.clips(some)[: count - start])
    return np.concatenate(parts)


def _filled(rows: np.ndarray, start: int, size: int) -> np.ndarray:
    """Return `size` rows from a start on, the last one repeated at the end."""
    return rows[np.minimum(np.arange(start, start + size), len(rows) - 1)]


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


def evaluate(
    embedded: EmbeddedRun, leave_out: bool = False, v2t: VideoToText = "frozen"
) -> dict[str, Retrieval]:
    """Return the figures of both directions: `text_to_clip` and `clip_to_text`.

    Args:
        embedded: clips and queries.
        leave_out: measure without the missing clips and their captions, rather than
            count them as found last.
        v2t: what a clip is ranked against, where clips have several captions:
            `frozen`: all captions, its best one counts (Bain et al., "Frozen in Time");
            `clip4clip`: all clips, each by the best of its captions (Luo et al.,
            "CLIP4Clip").
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
    to_text, own_text = similarities.T, relevant.T
    if v2t == "clip4clip":
        to_text, own_text = _by_clip(to_text, relevant)
    return {
        "text_to_clip": retrieval(similarities, relevant),
        "clip_to_text": retrieval(to_text, own_text),
    }


def _by_clip(
    similarities: np.ndarray, relevant: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a clip's similarity is to the captions of each clip, the best one's.

    Args:
        similarities: float32 [n, c], of clips to captions.
        relevant: bool [c, n], which clips have a caption.

    Returns:
        float32 [n, m] for the m clips that have captions, and bool [n, m]: whether the
        two clips have a caption in common, as each has with itself.
    """
    captioned = np.flatnonzero(relevant.any(axis=0))
    best = [similarities[:, relevant[:, clip]].max(axis=1) for clip in captioned]
    shared = relevant.T.astype(np.float32) @ relevant[:, captioned]
    return np.stack(best, axis=1), shared > 0


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
