from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.made_media import (
    RATE,
    corrupt_from,
    film,
    tone,
    truncate,
    write_video,
)
from transforms.clips.cut import (
    CutConfig,
    clip_instants,
    cut_clips,
    part_around,
    plan_parts,
)

S = 1_000_000
CONFIG = CutConfig(10 * S, 25.0, 256, 60.0)


@pytest.mark.parametrize(
    ("time_s", "duration_s", "part"),
    [(30, 60, (25, 35)), (2, 60, (0, 10)), (59, 60, (50, 60)), (3, 6, (0, 6)),
     (0, 10, (0, 10))],
)  # fmt: skip
def test_a_part_is_within_the_video(
    time_s: int, duration_s: int, part: tuple[int, int]
) -> None:
    found = part_around(time_s * S, duration_s * S, 10 * S)
    assert found == (part[0] * S, part[1] * S)


def test_times_of_one_part_share_it() -> None:
    plan = plan_parts([(1 * S, 60 * S), (3 * S, 60 * S), (30 * S, 60 * S)], 10 * S)
    assert plan == {(0, 10 * S): (S, 3 * S), (25 * S, 35 * S): (30 * S,)}


def test_a_clip_of_ten_seconds_has_250_frames() -> None:
    instants = clip_instants(3 * S, 13 * S, 25)
    assert len(instants) == 250
    assert instants[:2] == [3_000_000, 3_040_000] and instants[-1] == 12_960_000


def scenes(*lengths_s: float) -> np.ndarray:
    """Return frames of scenes 1, 2, ... one after the other."""
    return np.concatenate([film(i, s) for i, s in enumerate(lengths_s, start=1)])


def shown(jpeg: bytes) -> np.ndarray:
    image = Image.open(BytesIO(jpeg)).resize((40, 30), Image.Resampling.BOX)
    return np.asarray(image, np.int16)


def assert_shows(jpeg: bytes, frame: np.ndarray) -> None:
    wanted = Image.fromarray(frame).resize((40, 30), Image.Resampling.BOX)
    assert np.abs(shown(jpeg) - np.asarray(wanted, np.int16)).mean() < 8


def test_frames_and_sound_are_of_the_part(tmp_path: Path) -> None:
    frames = scenes(12, 12)
    path = write_video(tmp_path / "a.mp4", frames, sound=tone(24))
    (clip,) = cut_clips(str(path), [12 * S], CONFIG)
    assert (clip.start_us, clip.end_us, clip.times_us) == (7 * S, 17 * S, (12 * S,))
    assert len(clip.frames) == 250
    assert min(clip.width_px, clip.height_px) == 256
    for k in (0, 100, 124, 126, 249):
        assert_shows(clip.frames[k], frames[int((7 + k / 25) * RATE)])
    assert len(clip.sound.samples) == 160_000 and clip.sound.verdict == "ok"


def test_a_short_video_gives_a_short_clip(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", scenes(4))
    (clip,) = cut_clips(str(path), [1 * S, 3 * S], CONFIG)
    assert (clip.start_us, clip.end_us) == (0, 4 * S)
    assert clip.times_us == (1 * S, 3 * S) and len(clip.frames) == 100
    assert clip.sound.verdict == "none" and not len(clip.sound.samples)


def test_given_parts_are_cut_as_they_are_and_cut_short_at_the_end(
    tmp_path: Path,
) -> None:
    frames = scenes(6, 6)
    path = write_video(tmp_path / "a.mp4", frames, sound=tone(12))
    parts = [(1 * S, 11 * S), (2 * S, 5 * S), (9 * S, 20 * S), (30 * S, 34 * S)]
    clips = list(cut_clips(str(path), parts, CONFIG))
    assert [clip.part for clip in clips] == parts[:3]
    assert [(clip.start_us, clip.end_us) for clip in clips] == [
        *parts[:2],
        (9 * S, 12 * S),
    ]
    for clip in clips:
        count = (clip.end_us - clip.start_us) * 25 // S
        assert len(clip.frames) == count and len(clip.sound.samples) == count * 640
        assert_shows(clip.frames[0], frames[clip.start_us * RATE // S])


@pytest.mark.parametrize("harm", ["corrupt", "truncated"])
def test_parts_move_back_from_where_a_video_breaks(tmp_path: Path, harm: str) -> None:
    frames = scenes(10, 10, 10)
    path = write_video(tmp_path / "a.mkv", frames)
    if harm == "corrupt":
        corrupt_from(path, 18)
    else:
        truncate(path, 0.6)
    clips = list(cut_clips(str(path), [2 * S, 16 * S], CONFIG))
    assert [len(clip.frames) for clip in clips] == [250, 250]
    moved = clips[1]
    assert moved.start_us < 11 * S and moved.end_us < 20 * S
    assert moved.times_us == (16 * S,)
    for k in (0, 120, 240):
        at = int((moved.start_us / S + k / 25) * RATE)
        assert_shows(moved.frames[k], frames[at])
