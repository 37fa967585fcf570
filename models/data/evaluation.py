"""The clips of a run as batches of segments to evaluate on (tf.data).

    data = EvaluationData("run", SegmentConfig(), count=4)
    for ids, captions, clips, segments in data.batches(16):
        vectors = encode(clips)[segments].mean(axis=1)

Where a clip is too short for its segments to differ (10 s clips of the paper's stride
are gone through from end to end by each), they are cut, and encoded, once.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.data import segments
from models.data.clip_inputs import ClipInputs
from models.data.diagnose import guarded, inspect
from models.data.loader import in_order, is_there, open_clips, shaped
from models.data.segments import SegmentConfig


class EvaluationBatch(NamedTuple):
    """A batch of clips to evaluate on.

    Attributes:
        ids: of b clips.
        captions: of each clip all.
        clips: the segments of the clips that differ, one clip after the other: [n, ...]
            with b <= n <= b * k.
        segments: int32 [b, k], which row of `clips` each segment of a clip is.
    """

    ids: list[str]
    captions: list[list[str]]
    clips: ClipInputs
    segments: np.ndarray


class EvaluationData:
    """Every clip of a run once, in order, with all its captions.

    Args:
        run_dir: output of `clipseed mine` or `clipseed cut-benchmark`.
        segment: what is cut out of a clip.
        count: segments per clip, equally spaced (paper: 4).
        verify: whether the checksums of the files are verified first.
    """

    def __init__(
        self, run_dir: str, segment: SegmentConfig, count: int = 4, verify: bool = True
    ) -> None:
        self.run = open_clips(run_dir, verify)
        self._segment = segment
        self.count = count

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.run)

    def batches(self, batch: int) -> Iterator[EvaluationBatch]:
        """Yield batches of `batch` clips, the last one smaller.

        Raises:
            InputError: `bad_record`, naming it, where a record cannot be used.
        """
        import tensorflow as tf

        numbers = tf.data.Dataset.range(len(self.run))
        dataset = in_order(numbers, self._load).prefetch(batch)

        def explain(number: int) -> None:
            inspect(self.run, number, captioned=False)

        for rows in _grouped(guarded(dataset, explain), batch):
            yield _joined(rows)

    def _load(self, number: Any) -> dict[str, Any]:
        import tensorflow as tf

        data = tf.numpy_function(
            lambda clip: self.run.read(int(clip)), [number], tf.string
        )
        clip = segments.parse(tf.ensure_shape(data, ()))
        shares = np.linspace(0, 1, self.count) if self.count > 1 else np.array([0.5])
        places = [self._places(clip, float(share)) for share in shares]
        rows, first = _distinct(tf.stack(places))
        chosen = tf.gather(tf.constant(shares, tf.float32), first)
        return {
            "id": clip["id"],
            "captions": clip["captions"],
            "segments": rows,
            **self._cut(clip, chosen),
        }

    def _places(self, clip: dict[str, Any], share: float) -> Any:
        """Return which frames and spectrogram frames a segment has: int32 [...]."""
        import tensorflow as tf

        config = self._segment
        frames = segments.frame_places(clip["jpegs"], config, share)
        sounds = segments.spectrogram_places(clip["log_mel"], config, share)
        return tf.concat([frames, sounds], 0)

    def _cut(self, clip: dict[str, Any], shares: Any) -> dict[str, Any]:
        """Cut a segment for each share of the clip: [n, ...] each."""
        import tensorflow as tf

        config, cut = self._segment, {}

        def video(share: Any) -> Any:
            images = segments.frames(clip["jpegs"], config, share)
            return shaped(segments.center(images, config.frame_px), config)

        def audio(share: Any) -> Any:
            return segments.spectrogram(clip["log_mel"], config, share)

        if config.frames:
            cut["video"] = tf.map_fn(video, shares, fn_output_signature=tf.uint8)
            cut["has_video"] = tf.repeat(is_there(clip["jpegs"]), tf.size(shares))
        if config.spectrogram_frames:
            cut["audio"] = tf.map_fn(audio, shares)
            cut["has_audio"] = tf.repeat(is_there(clip["log_mel"]), tf.size(shares))
        return cut


def _distinct(rows: Any) -> tuple[Any, Any]:
    """Find equal rows of [k, n].

    Returns:
        int32 [k], the number of each row among those that differ; int32 [m], where
        each of these comes first.
    """
    import tensorflow as tf

    equal = tf.reduce_all(rows[:, None] == rows[None], axis=-1)
    first, numbers = tf.unique(tf.argmax(equal, axis=1, output_type=tf.int32))
    return numbers, first


def _grouped(
    clips: Iterator[dict[str, Any]], size: int
) -> Iterator[Sequence[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for clip in clips:
        group.append(clip)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _joined(rows: Sequence[dict[str, Any]]) -> EvaluationBatch:
    """Return a batch of the clips that `EvaluationData` loaded."""
    ids = [row["id"].decode() for row in rows]
    captions = [[text.decode() for text in row["captions"]] for row in rows]
    counts = [row["segments"].max() + 1 for row in rows]
    before = np.cumsum([0, *counts[:-1]])
    numbers = np.stack([row["segments"] for row in rows]) + before[:, np.newaxis]
    names = [name for name in ClipInputs._fields if name in rows[0]]
    arrays = {name: np.concatenate([row[name] for row in rows]) for name in names}
    return EvaluationBatch(ids, captions, ClipInputs(**arrays), numbers)
