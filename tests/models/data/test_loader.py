"""Batches of clips and captions: order, segments, masks, bad records."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow as tf

from clipseed.errors import InputError
from clipseed.run.clip_record import ClipRecord
from clipseed.run.reader import Run
from models.data import segments
from models.data.augment import AugmentConfig, mask_spectrogram
from models.data.evaluation import EvaluationData
from models.data.index_sampler import draw
from models.data.loader import Source, TrainingBatch, TrainingData
from models.data.segments import SegmentConfig
from models.tokenizers.base import Tokens
from tests.support.tiny_run import clip_record, gray, write_run

CLIPS = 7
SEGMENT = SegmentConfig(
    frames=4,
    frame_stride=3,
    frame_px=32,
    spectrogram_frames=20,
    spectrogram_stride=2,
    mel_mean=0.0,
    mel_deviation=1.0,
)
PLAIN = AugmentConfig(
    least_side=1.0, flip=False, color=0.0, frequency_masks=0, time_masks=0
)


class ByLetter:
    """A tokenizer whose tokens are characters."""

    size = 130

    def encode(self, captions: Sequence[str], length: int = 8) -> Tokens:
        rows = [[1, *map(ord, text[: length - 2]), 2] for text in captions]
        ids = np.array([row + [0] * (length - len(row)) for row in rows], np.int32)
        return Tokens(ids, ids > 0)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        clip_record(i, [f"a{i}", f"b{i}"], sound=i != 3, frames=50 if i != 4 else 3)
        for i in range(CLIPS)
    ]
    return write_run(tmp_path_factory.mktemp("runs") / "run", records)


def training(
    run_dir: Path, augment: AugmentConfig = PLAIN, seed: int = 0
) -> TrainingData:
    return TrainingData([Source(str(run_dir))], SEGMENT, augment, ByLetter(), seed)


def same(left: TrainingBatch, right: TrainingBatch) -> bool:
    pairs = zip(
        jax.tree.leaves(left.inputs), jax.tree.leaves(right.inputs), strict=True
    )
    return (left.ids, left.captions) == (right.ids, right.captions) and all(
        np.array_equal(a, b) for a, b in pairs
    )


# --- order ---------------------------------------------------------------------------


def test_every_epoch_has_every_clip_once_in_another_order() -> None:
    rows = np.concatenate([draw(step, 4, [6], [1.0], 0) for step in range(6)])
    clips = rows[np.argsort(rows[:, 2]), 1].reshape(4, 6)
    assert [sorted(epoch) for epoch in clips.tolist()] == [list(range(6))] * 4
    assert len({tuple(epoch) for epoch in clips.tolist()}) > 1


def test_data_sets_have_their_share_of_every_batch() -> None:
    rows = [draw(step, 8, [50, 5, 9], [5.0, 2.0, 1.0], 0) for step in range(16)]
    for batch in rows:
        assert np.bincount(batch[:, 0]).tolist() == [5, 2, 1]
    uneven = np.concatenate([draw(s, 4, [9, 9], [2.0, 1.0], 0) for s in range(30)])
    assert np.bincount(uneven[:, 0]).tolist() == [80, 40]
    assert len({(s, n) for s, _, n in uneven.tolist()}) == 120  # No draw twice.


def test_a_run_goes_on_as_if_undisturbed(run_dir: Path) -> None:
    changes = AugmentConfig()
    through = list(training(run_dir, changes).batches(4, 0, 5))
    resumed = list(training(run_dir, changes).batches(4, 3, 5))
    assert len(resumed) == 2
    assert all(same(a, b) for a, b in zip(through[3:], resumed, strict=True))
    other = next(training(run_dir, changes, seed=1).batches(4, 0, 1))
    assert not same(through[0], other)


def test_hosts_have_the_parts_of_one_batch(run_dir: Path) -> None:
    (whole,) = training(run_dir).batches(4, 2, 3)
    parts = [next(training(run_dir).batches(4, 2, 3, host, 2)) for host in (0, 1)]
    assert [*parts[0].ids, *parts[1].ids] == whole.ids
    joined = jax.tree.map(
        lambda *rows: np.concatenate(rows), *(part.inputs for part in parts)
    )
    assert same(whole, whole._replace(inputs=joined))


# --- what is in a sample -------------------------------------------------------------


def test_training_samples_are_segments_of_their_clips(run_dir: Path) -> None:
    seen = set()
    for batch in training(run_dir).batches(7, 0, 3):
        assert sorted(batch.ids) == [f"clip{i}" for i in range(CLIPS)]
        clips, texts = batch.inputs
        video, audio = clips.video, clips.audio
        assert video.shape == (7, 4, 32, 32, 3) and audio.shape == (7, 20, 128)
        for row, name in enumerate(batch.ids):
            number = int(name[4:])
            caption = batch.captions[row]
            assert caption in (f"a{number}", f"b{number}")
            seen.add(caption)
            ids = texts.ids[row][texts.mask[row]]
            assert ids.tolist() == [1, *map(ord, caption), 2]
            assert clips.has_audio[row] == (number != 3)
            if number == 4:  # of 3 frames: gone through from end to end.
                places = [0, 1, 1, 2]
            else:
                first = round((video[row, 0].mean() - 25 * number) / 2)
                places = [first + 3 * i for i in range(4)]
            wanted = [gray(number, place) for place in places]
            assert np.allclose(video[row].mean(axis=(1, 2, 3)), wanted, atol=1.5)
            if number not in (3, 4):
                # The sound of the same share of the clip, every second 10 ms.
                steps = np.diff(audio[row, :, 0])
                assert np.allclose(steps, 0.002, atol=1e-5)
                start = (audio[row, 0, 0] - number) * 1000
                share = first / (49 - 9)
                assert start == pytest.approx(share * (199 - 38), abs=3)
    assert len(seen) > CLIPS


def test_no_clip_is_its_own_negative(run_dir: Path) -> None:
    """Of each run a batch takes at most what it has."""
    one, three = (Source(str(run_dir), weight) for weight in (1.0, 3.0))
    for sources, most in (([one], 7), ([one, three], 9)):
        data = TrainingData(sources, SEGMENT, PLAIN, ByLetter())
        data.batches(most, 0, 1)
        with pytest.raises(InputError, match=rf"batch_size to {most} or") as caught:
            data.batches(most + 1, 0, 1)
        assert caught.value.reason == "batch_too_large"
    repeated = TrainingData([one], SEGMENT, PLAIN, ByLetter(), distinct=False)
    batch = next(repeated.batches(2 * CLIPS, 0, 1))
    assert sorted(batch.ids) == sorted(2 * [f"clip{i}" for i in range(CLIPS)])


def test_changes_are_of_the_size_that_was_asked_for(run_dir: Path) -> None:
    color = AugmentConfig(least_side=1.0, flip=False, color=0.4, color_share=1.0)
    before = next(training(run_dir).batches(7, 0, 1))
    after = next(training(run_dir, color).batches(7, 0, 1))
    assert before.ids == after.ids
    videos = (each.inputs.clips.video.astype(int) for each in (before, after))
    moved = np.abs(next(videos) - next(videos)).max()
    assert 5 < moved <= 0.4 * 256


def test_masks_blank_as_much_as_they_may() -> None:
    config = AugmentConfig(
        frequency_masks=1, frequency_bins=16, time_masks=2, time_frames=10
    )
    ones = tf.ones((100, 128))
    blanks = []
    for number in range(40):
        masked = mask_spectrogram(ones, config, tf.constant([0, number])).numpy()
        rows, columns = (masked.max(axis=axis) == 0 for axis in (1, 0))
        assert rows.sum() <= 20 and columns.sum() <= 16
        assert np.array_equal(masked == 0, rows[:, None] | columns[None, :])
        blanks.append((rows.sum(), columns.sum()))
    assert np.mean(blanks, axis=0).tolist() == pytest.approx([10, 8], abs=3)


def test_indices_never_leave_the_clip() -> None:
    for count in (1, 2, 7, 250):
        for share in (0.0, 0.37, 1.0):
            found = segments.indices(count, 32, 14, share).numpy()
            assert found.min() >= 0 and found.max() < count
            assert (np.diff(found) >= 0).all() and len(found) == 32
    paper = segments.indices(250, 32, 14, 0.7).numpy()
    assert paper[0] == 0 and paper[-1] == 249  # 10 s are gone through whole.


# --- bad input -----------------------------------------------------------------------


def test_what_the_manifest_does_not_say_is_refused(run_dir: Path) -> None:
    copy = write_run(run_dir.parent / "copy", [clip_record(0, ["x"])], shards=1)
    shard = copy / "clips" / "clips-00000-of-00001.tfrecord"
    good = shard.read_bytes()
    for data, said in (
        (good[:-5], "bytes, not"),
        (good[:500] + b"\0" + good[501:], "checksum"),
    ):
        shard.write_bytes(data)
        with pytest.raises(InputError, match=f"clips-00000-of-00001.*{said}"):
            Run.open(copy, verify="nothing").open_clips(said == "checksum")
    shard.unlink()
    with pytest.raises(InputError, match=r"damaged_run.*clips-00000-of-00001"):
        Run.open(copy, verify="nothing").open_clips(True)
    (copy / "run.json").write_text('{"format": "clipseed-run/9"}')
    with pytest.raises(InputError, match="clipseed-run/9"):
        Run.open(copy, verify="nothing").open_clips(True)
    (copy / "run.json").unlink()
    with pytest.raises(InputError, match="is not a finished run"):
        Run.open(copy, verify="nothing").open_clips(True)


def test_a_run_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no clip"):
        Run.open(write_run(tmp_path / "run", [])).open_clips()


def _other_layout(monkeypatch: pytest.MonkeyPatch) -> ClipRecord:
    monkeypatch.setattr("clipseed.run.clip_layout.LAYOUT_VERSION", 9)
    return clip_record(1, ["x"])


@pytest.mark.parametrize("what", ["jpeg", "caption", "layout"])
def test_a_bad_record_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with monkeypatch.context() as context:
        bad, said = {
            "jpeg": lambda: (
                clip_record(1, ["x"], jpegs=(b"\xff\xd8 no jpeg",) * 5), "not a JPEG"
            ),
            "caption": lambda: (clip_record(1, []), "no caption"),
            "layout": lambda: (_other_layout(context), "layout is 9"),
        }[what]()  # fmt: skip
        run = write_run(tmp_path / "run", [clip_record(0, ["x"]), bad], shards=1)
    with pytest.raises(InputError, match=rf"the record at byte \d+ of .*{said}"):
        list(training(run).batches(2, 0, 1))
    if what != "caption":
        with pytest.raises(InputError, match=said):
            list(EvaluationData(str(run), SEGMENT, 1).batches(2))


def test_a_clip_without_frames_is_masked(tmp_path: Path) -> None:
    heard = dataclasses.replace(clip_record(1, ["x"]), frames=())
    run = write_run(tmp_path / "run", [clip_record(0, ["x"]), heard], shards=1)
    batch = next(EvaluationData(str(run), SEGMENT, 1).batches(2))
    assert batch.clips.has_video.tolist() == [True, False]
    assert batch.clips.has_audio.all() and not batch.clips.video[1].any()
    trained = next(training(run).batches(2, 0, 1))
    assert sorted(trained.inputs.clips.has_video.tolist()) == [False, True]


def test_a_clip_that_has_nothing_for_the_model_is_named(run_dir: Path) -> None:
    blind = SegmentConfig(frames=0, spectrogram_frames=10)
    data = TrainingData([Source(str(run_dir))], blind, PLAIN, ByLetter())
    with pytest.raises(InputError, match=r"nothing_to_learn.*clip3 have no sound"):
        list(data.batches(7, 0, 1))
