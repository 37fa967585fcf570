"""Segments of every clip of a run, to evaluate on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from models.data.clip_inputs import ClipInputs
from models.data.evaluation import EvaluationData
from models.data.segments import SegmentConfig
from models.retrieval.evaluate import embed_clips
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
# Of 50 frames of a clip: they are gone through from end to end.
LONG = dataclasses.replace(SEGMENT, frame_stride=20, spectrogram_stride=20)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write seven clips; one has no sound, one only three frames."""
    records = [
        clip_record(i, [f"a{i}", f"b{i}"], sound=i != 3, frames=50 if i != 4 else 3)
        for i in range(CLIPS)
    ]
    return write_run(tmp_path_factory.mktemp("runs") / "run", records)


def test_evaluation_has_equally_spaced_segments_of_every_clip(run_dir: Path) -> None:
    batches = list(EvaluationData(str(run_dir), SEGMENT, count=3).batches(5))
    assert [len(batch.ids) for batch in batches] == [5, 2]
    ids = [name for batch in batches for name in batch.ids]
    order = ["clip0", "clip2", "clip4", "clip6", "clip1", "clip3", "clip5"]
    assert ids == order  # By shard, in the order of the run.
    video = [batch.clips.video[batch.segments] for batch in batches]
    assert np.concatenate(video).shape == (7, 3, 4, 32, 32, 3)
    for shown, number in ((video[0][0], 0), (video[0][4], 1)):
        for segment, first in enumerate((0, 20, 40)):
            wanted = [gray(number, first + 3 * i) for i in range(4)]
            got = shown[segment].mean(axis=(1, 2, 3))
            assert np.allclose(got, wanted, atol=1.5)
    assert batches[0].captions[0] == ["a0", "b0"]
    has_audio = [batch.clips.has_audio[batch.segments] for batch in batches]
    wanted_audio = [[name != "clip3"] * 3 for name in ids]
    assert np.concatenate(has_audio).tolist() == wanted_audio
    # The clip of three frames has one segment, which counts three times.
    assert batches[0].segments[2].tolist() == [6, 6, 6]


def test_one_segment_is_the_middle_one(run_dir: Path) -> None:
    batch = next(EvaluationData(str(run_dir), SEGMENT, count=1).batches(1))
    got = batch.clips.video[0].mean(axis=(1, 2, 3))
    assert np.allclose(got, [gray(0, 20 + 3 * i) for i in range(4)], atol=1.5)


def test_without_sound_or_pictures_nothing_is_read(run_dir: Path) -> None:
    deaf = SegmentConfig(frames=2, frame_px=16, spectrogram_frames=0)
    blind = SegmentConfig(frames=0, spectrogram_frames=10)
    read = [next(EvaluationData(str(run_dir), s, 1).batches(2)).clips
            for s in (deaf, blind)]  # fmt: skip
    names = [{n for n, rows in clips._asdict().items() if rows is not None}
             for clips in read]  # fmt: skip
    assert names == [{"video", "has_video"}, {"audio", "has_audio"}]


class Counted:
    """An encoder of means, which counts what it is given."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def clips(self, clips: ClipInputs) -> np.ndarray:
        self.calls.append(len(clips.video))
        means = [rows.mean(axis=tuple(range(1, rows.ndim))) for rows in clips[:2]]
        return np.stack(means, axis=1).astype(np.float32)


def embedded(run_dir: Path, config: SegmentConfig, count: int) -> tuple:
    encoder, data = Counted(), EvaluationData(str(run_dir), config, count)
    parts = list(embed_clips(encoder, data, batch=7))  # type: ignore[arg-type]
    return np.concatenate([part[2] for part in parts]), encoder.calls


def test_segments_that_coincide_are_encoded_once(run_dir: Path) -> None:
    """The embeddings are those of four segments, for a quarter of the work."""
    found, calls = embedded(run_dir, LONG, 4)
    assert calls == [7]
    once, _ = embedded(run_dir, LONG, 1)
    np.testing.assert_allclose(found, once, rtol=1e-6)


def test_segments_that_differ_are_averaged(run_dir: Path) -> None:
    found, calls = embedded(run_dir, SEGMENT, 3)
    assert calls == [7, 7, 7]  # 6 clips of three segments, and one of a single one.
    batch = next(EvaluationData(str(run_dir), SEGMENT, 3).batches(7))
    each = Counted().clips(batch.clips)
    wanted = [each[rows].mean(axis=0) for rows in batch.segments]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
