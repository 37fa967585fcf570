"""Clips and captions as batches to learn from (tf.data).

    data = TrainingData([Source("run")], SegmentConfig(), AugmentConfig(), tokenizer)
    for batch in data.batches(batch=256, first_step=1000, steps=5000):
        state, metrics = step(state, to_devices(batch.inputs, mesh))

The clips of a batch and every random number follow from the seed and the step: a run
that resumes sees what it would have seen, and several hosts read the parts of one and
the same batch.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from clipseed.errors import InputError
from clipseed.run.clips import RunClips
from clipseed.run.reader import Run
from models.data import segments
from models.data.augment import AugmentConfig, augment_pictures, mask_spectrogram
from models.data.clip_inputs import CaptionedClips, ClipInputs
from models.data.diagnose import guarded, inspect
from models.data.index_sampler import draw
from models.data.segments import SegmentConfig
from models.tokenizers.base import Tokenizer

# Batches that are read in advance.
_AHEAD = 2
_ROUNDING = 1e-9  # of a share that is a whole number of clips


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        run_dir: output of `clipseed mine`.
        weight: its share of every batch, relative to the other data sets.
        verify: whether the checksums of its files are verified first.
    """

    run_dir: str
    weight: float = 1.0
    verify: bool = True


class TrainingBatch(NamedTuple):
    """A batch to learn from.

    Attributes:
        ids: of the clips.
        captions: of each clip the one that was drawn.
        inputs: segments of the clips, and the captions' tokens.
    """

    ids: list[str]
    captions: list[str]
    inputs: CaptionedClips


class TrainingData:
    """Batches of one or several runs, for as many steps as are asked for.

    Args:
        sources: the data sets.
        segment: what is cut out of a clip.
        augment: how it is changed.
        tokenizer: of the captions.
        seed: of order and changes.
        distinct: whether a batch must hold each clip once at most, as one with
            negatives must.

    Raises:
        InputError: as `Run.open` and `Run.open_clips`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        segment: SegmentConfig,
        augment: AugmentConfig,
        tokenizer: Tokenizer,
        seed: int = 0,
        distinct: bool = True,
    ) -> None:
        self.runs = [open_clips(source.run_dir, source.verify) for source in sources]
        self._weights = [source.weight for source in sources]
        self._segment, self._augment = segment, augment
        self._tokenizer = tokenizer
        self._seed = seed
        self._distinct = distinct

    def __len__(self) -> int:
        """Return the number of clips of all data sets."""
        return sum(map(len, self.runs))

    def batches(
        self, batch: int, first_step: int, steps: int, host: int = 0, hosts: int = 1
    ) -> Iterator[TrainingBatch]:
        """Yield this host's part of the batches of steps `first_step` to `steps`.

        Args:
            batch: clips of all hosts together; a multiple of `hosts`.
            first_step: from 0.
            steps: of the whole run.
            host: which part.
            hosts: how many there are.

        Raises:
            InputError: `batch_too_large` if clips must be distinct, and a run has fewer
                than its share of a batch; `bad_record`, naming it, where a record
                cannot be used; `nothing_to_learn` for a clip without all that the model
                takes.
        """
        import tensorflow as tf

        if self._distinct:
            self._check_batch(batch)
        mine = slice(host * (batch // hosts), (host + 1) * (batch // hosts))
        sizes = [len(run) for run in self.runs]

        def rows(step: Any) -> np.ndarray:
            found = draw(int(step), batch, sizes, self._weights, self._seed)
            return found[mine]

        def plan(step: Any) -> Any:
            drawn = tf.numpy_function(rows, [step], tf.int64)
            return tf.data.Dataset.from_tensor_slices(
                tf.ensure_shape(drawn, (batch // hosts, 3))
            )

        drawn = tf.data.Dataset.range(first_step, steps).flat_map(plan)
        samples = in_order(drawn, self._load)
        dataset = samples.batch(batch // hosts).prefetch(_AHEAD)
        return self._iterate(dataset, rows, first_step)

    def _check_batch(self, batch: int) -> None:
        """Check that no clip would be its own negative.

        Raises:
            InputError: `batch_too_large`.
        """
        for run, weight in zip(self.runs, self._weights, strict=True):
            share = weight / sum(self._weights)
            if math.ceil(batch * share - _ROUNDING) > len(run):
                most = math.floor(len(run) / share + _ROUNDING)
                raise InputError(
                    "batch_too_large",
                    f"of a batch of {batch} more clips would come from {run.run_dir} "
                    f"than the {len(run)} that it has, so that one would be its own "
                    f"negative: set batch_size to {most} or less, or train on more",
                )

    def _iterate(
        self, dataset: Any, rows: Any, first_step: int
    ) -> Iterator[TrainingBatch]:
        def explain(number: int) -> None:
            for source, clip, _ in rows(first_step + number).tolist():
                inspect(self.runs[source], clip)

        for arrays in guarded(dataset, explain):
            captions = [text.decode() for text in arrays.pop("caption")]
            ids = [text.decode() for text in arrays.pop("id")]
            clips = ClipInputs(**arrays)
            _check_present(ids, clips)
            texts = self._tokenizer.encode(captions)
            yield TrainingBatch(ids, captions, CaptionedClips(clips, texts))

    def _load(self, drawn: Any) -> dict[str, Any]:
        """Return the sample of a row of the plan."""
        import tensorflow as tf

        data = tf.numpy_function(
            lambda row: self.runs[row[0]].read(int(row[1])), [drawn], tf.string
        )
        clip = segments.parse(tf.ensure_shape(data, ()))
        # Data set and draw name the sample, the second number what is drawn for it.
        seed = tf.stack([self._seed * 1_000_003 + drawn[0], drawn[2] * 64])
        share, which = tf.unstack(tf.random.stateless_uniform((2,), seed))
        count = tf.cast(tf.shape(clip["captions"])[0], tf.float32)
        chosen = tf.cast(which * count, tf.int32)
        sample = {"id": clip["id"], "caption": clip["captions"][chosen]}
        return sample | self._cut(clip, share, seed)

    def _cut(self, clip: dict[str, Any], share: Any, seed: Any) -> dict[str, Any]:
        segment, augment, sample = self._segment, self._augment, {}
        if segment.frames:
            images = segments.frames(clip["jpegs"], segment, share)
            changed = augment_pictures(images, segment.frame_px, augment, seed + 1)
            sample["video"] = shaped(changed, segment)
            sample["has_video"] = is_there(clip["jpegs"])
        if segment.spectrogram_frames:
            sound = segments.spectrogram(clip["log_mel"], segment, share)
            sample["audio"] = mask_spectrogram(sound, augment, seed + 2)
            sample["has_audio"] = is_there(clip["log_mel"])
        return sample


def open_clips(run_dir: str, verify: bool) -> RunClips:
    """Open the clips of a run, and look at none of its other files."""
    return Run.open(run_dir, verify="nothing").open_clips(verify)


def _check_present(ids: Sequence[str], clips: ClipInputs) -> None:
    """Check that every clip has something to learn from.

    Raises:
        InputError: `nothing_to_learn`, naming the clips.
    """
    empty = [ids[row] for row in np.flatnonzero(~clips.present()).tolist()]
    if empty:
        named = {"frame": clips.has_video, "sound": clips.has_audio}
        lacking = " and no ".join(n for n, mask in named.items() if mask is not None)
        raise InputError(
            "nothing_to_learn",
            f"the clips {', '.join(empty)} have no {lacking}, and this model takes "
            "nothing else; mine with --require_sound, or train on both",
        )


def in_order(rows: Any, load: Callable[[Any], dict[str, Any]]) -> Any:
    """Load rows in order, on all cores.

    Without the autotuning of tf.data: it starts from one clip at a time, and sleeps for
    seconds after the last batch.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    samples = rows.map(load, num_parallel_calls=len(os.sched_getaffinity(0)))
    return samples.with_options(options)


def shaped(images: Any, segment: SegmentConfig) -> Any:
    """Say the shape of a segment's frames, which TensorFlow lost."""
    import tensorflow as tf

    px = segment.frame_px
    return tf.ensure_shape(images, (segment.frames, px, px, 3))


def is_there(steps: Any) -> Any:
    """Tell whether a stream has anything: bool [].

    Silence is sound; a stream that is missing, or cannot be decoded, is not.
    """
    import tensorflow as tf

    return tf.shape(steps)[0] > 0
