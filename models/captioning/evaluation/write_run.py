"""Captions and losses of all clips of a run.

Each clip is written about once, by one segment from its middle.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from models.captioning.writer import CaptionWriter
from models.data.clip_inputs import ClipInputs, Modality
from models.data.evaluation import EvaluationData
from models.data.progress import progress

# Captions of a clip whose losses are computed at once.
_TOGETHER = 5


class CaptionedClip(NamedTuple):
    """A clip with its captions, and what the model wrote.

    Attributes:
        clip_id: of the run.
        captions: the clip's own, with which the written one is compared.
        written: by the model; "" of a missing clip.
        score: of `written`, see `models.captioning.writer.Written`.
        ended: False if it was cut off at its longest.
        loss: negative log-likelihood of all `captions`, in nats.
        tokens: that these have, their ends included.
        missing: why nothing was written; "" if something was.
    """

    clip_id: str
    captions: list[str]
    written: str = ""
    score: float = float("nan")
    ended: bool = False
    loss: float = 0.0
    tokens: float = 0.0
    missing: str = ""


def write_run(
    writer: CaptionWriter,
    data: EvaluationData,
    batch: int = 16,
    masked: Modality | None = None,
) -> list[CaptionedClip]:
    """Write about every clip of a run, and show how many are done.

    Args:
        writer: of the model.
        data: the clips, of one segment each.
        batch: clips at once.
        masked: the modality that is masked in every clip.

    Returns:
        The clips in the run's order; those that have nothing that the model takes, and
        those that a benchmark lacks, are `missing`.
    """
    found: list[CaptionedClip] = []
    with progress("clips", len(data)) as advance:
        for ids, captions, clips, segments in data.batches(batch):
            chosen = clips.map(partial(np.take, indices=segments[:, 0], axis=0))
            chosen = chosen.without(masked) if masked else chosen
            found += _written(writer, ids, captions, chosen, batch)
            advance(len(ids))
    benchmark = data.run.benchmark
    for lacking in benchmark.missing if benchmark else ():
        why = f"{lacking.reason}: {lacking.message}"
        found.append(
            CaptionedClip(lacking.clip_id, list(lacking.captions), missing=why)
        )
    return found


def _written(
    writer: CaptionWriter,
    ids: Sequence[str],
    captions: Sequence[list[str]],
    clips: ClipInputs,
    size: int,
) -> Iterator[CaptionedClip]:
    """Yield the clips of a batch of at most `size`."""
    there = clips.present()
    # One compiled program serves every batch: the last clip fills it up.
    clips = clips.map(lambda rows: rows[np.minimum(np.arange(size), len(rows) - 1)])
    texts = writer.write(clips)
    losses = _losses(writer, captions, clips, size)
    for row, clip_id in enumerate(ids):
        if not there[row]:
            why = "it has nothing that the model takes"
            yield CaptionedClip(clip_id, captions[row], missing=why)
            continue
        text, loss = texts[row], losses[row].tolist()
        yield CaptionedClip(
            clip_id, captions[row], text.text, text.score, text.ended, *loss
        )


def _losses(
    writer: CaptionWriter,
    captions: Sequence[list[str]],
    clips: ClipInputs,
    size: int,
) -> np.ndarray:
    """Return the loss and the tokens of each clip's captions: float64 [size, 2]."""
    total = np.zeros((size, 2))
    for first in range(0, max(map(len, captions)), _TOGETHER):
        parts = [texts[first : first + _TOGETHER] for texts in captions]
        parts += [[]] * (size - len(parts))
        counted = [[place < len(part) for place in range(_TOGETHER)] for part in parts]
        filled = [part + [""] * (_TOGETHER - len(part)) for part in parts]
        sums = writer.judge(clips, [text for part in filled for text in part])
        for column, values in enumerate((sums.loss, sums.tokens)):
            rows = np.asarray(values, np.float64).reshape(size, _TOGETHER)
            total[:, column] += np.where(counted, rows, 0).sum(axis=1)
    return total
