"""The demo's films, seeds and manifest on disk."""

import contextlib
import csv
import itertools
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from beam_pipeline.demo.corpus import (
    AS_OF,
    CAMERA,
    FILMS,
    NOT_A_VIDEO,
    Film,
    render_corpus,
)
from beam_pipeline.demo.truth import Truth, read_truth
from beam_pipeline.demo.world import RMS
from tests.support.paths import ROOT

SMALL = (
    Film("whole", (3, 2)),
    Film("mute", (2,), track="none"),
    Film("still", (2,), track="silent"),
    Film("filtered", (2,), seeds=0, views=10),
    Film("broken", (3, 4), seeds=1, breaks_s=5),
)


RENDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.beam_pipeline.demo import test_corpus as test
test.render_corpus(Path(sys.argv[2]), 0, test.SMALL, absent_seeds=2)
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    directory = tmp_path_factory.mktemp("corpus")
    return directory, render_corpus(directory, 0, SMALL, absent_seeds=2)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(directory: Path) -> dict[str, bytes]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def pictures(path: Path) -> list[av.VideoFrame]:
    """Decode frames until the end of the file, or until it breaks."""
    frames: list[av.VideoFrame] = []
    with av.open(str(path)) as container, contextlib.suppress(av.FFmpegError):
        frames.extend(container.decode(video=0))
    return frames


def hear(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == CAMERA.rate
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(frames, axis=1)[0]


def test_two_renders_are_equal_byte_for_byte(tmp_path: Path) -> None:
    # A process each, as two commands are. The other one's fresh memory is not zeros but
    # a byte that an encoder which reads it takes for a motion back into the picture.
    for name, byte in (("one", "0"), ("other", "1")):
        command = [sys.executable, "-c", RENDER, str(ROOT), str(tmp_path / name)]
        environment = {**os.environ, "MALLOC_PERTURB_": byte}
        subprocess.run(command, check=True, env=environment)
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_another_seed_is_another_corpus(
    corpus: tuple[Path, list[Truth]], tmp_path: Path
) -> None:
    other = render_corpus(tmp_path, 1, SMALL[:1], absent_seeds=0)
    assert {each.caption for each in other}.isdisjoint(
        each.caption for each in corpus[1]
    )


def test_the_truth_is_where_the_films_say(corpus: tuple[Path, list[Truth]]) -> None:
    directory, truth = corpus
    assert [(each.video, each.start_us, each.end_us) for each in truth] == [
        ("videos/whole.mp4", 0, 3_000_000),
        ("videos/whole.mp4", 3_000_000, 5_000_000),
        ("videos/mute.mp4", 0, 2_000_000),
        ("videos/still.mp4", 0, 2_000_000),
        ("videos/broken.mp4", 0, 3_000_000),
    ]
    assert read_truth(directory) == truth


def test_seeds_are_listed_with_unique_captions(
    corpus: tuple[Path, list[Truth]],
) -> None:
    directory, truth = corpus
    rows = read_rows(directory / "seeds.csv")
    assert [(row["image"], row["caption"]) for row in rows[:5]] == [
        (each.image, each.caption) for each in truth
    ]
    assert len(rows) == 7
    assert len({row["caption"] for row in rows}) == 7
    for row in rows:
        with av.open(str(directory / row["image"])) as container:
            image = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert image.shape == (CAMERA.height, CAMERA.width, 3)
        assert image.std() > 20


def test_videos_open_with_the_length_and_tracks_they_should_have(
    corpus: tuple[Path, list[Truth]],
) -> None:
    directory, _ = corpus
    tracks = {"whole": 1, "mute": 0, "still": 1}
    for film in SMALL[:3]:
        frames = pictures(directory / film.path)
        assert len(frames) == 25 * sum(film.scenes_s)
        assert (frames[0].time, frames[0].height, frames[0].width) == (0, 240, 320)
        with av.open(str(directory / film.path)) as container:
            assert len(container.streams.audio) == tracks[film.name]
            assert container.streams.video[0].codec_context.name == "h264"


def test_a_video_sounds_as_its_scenes_do(corpus: tuple[Path, list[Truth]]) -> None:
    directory, _ = corpus
    wave = hear(directory / "videos/whole.mp4")
    assert wave.size == pytest.approx(5 * CAMERA.rate, abs=2_100)
    assert np.sqrt(np.mean(np.square(wave))) == pytest.approx(RMS, rel=0.1)
    assert np.abs(wave).max() < 0.99
    assert np.abs(hear(directory / "videos/still.mp4")).max() < 1e-4


def test_a_frame_of_the_video_shows_the_scene_at_that_time(
    corpus: tuple[Path, list[Truth]],
) -> None:
    directory, _ = corpus
    frames = pictures(directory / "videos/whole.mp4")
    shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in frames]
    cuts = [np.abs(b - a).mean() for a, b in itertools.pairwise(shown)]
    assert int(np.argmax(cuts)) + 1 == 3 * 25  # the scene changes at 3 s, sharply
    assert cuts[74] > 5 * sorted(cuts)[-2]


def test_the_broken_video_shows_its_first_scene_and_then_breaks(
    corpus: tuple[Path, list[Truth]],
) -> None:
    path = corpus[0] / "videos/broken.mp4"
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.frames == 7 * 25  # what its header promises
        packets = [packet for packet in container.demux(video) if packet.size]
    assert packets[-1].is_corrupt  # a picture cut in two
    assert 3 * 25 < len(pictures(path)) <= 5 * 25 + 1


def test_the_text_file_is_no_video(corpus: tuple[Path, list[Truth]]) -> None:
    with pytest.raises(av.FFmpegError):
        av.open(str(corpus[0] / NOT_A_VIDEO))


def test_the_manifest_lists_every_file(corpus: tuple[Path, list[Truth]]) -> None:
    directory, _ = corpus
    rows = read_rows(directory / "videos.csv")
    on_disk = {f"videos/{path.name}" for path in (directory / "videos").iterdir()}
    assert {row["video"] for row in rows} == on_disk
    assert rows[0] == {
        "video": "videos/whole.mp4",
        "view_count": "20000",
        "duration": "5",
        "upload_date": (AS_OF - timedelta(days=400)).isoformat(),
        "safe": "true",
    }


def test_two_films_fail_the_paper_s_filters() -> None:
    ten_years_ago = AS_OF.replace(year=AS_OF.year - 10)
    dropped = [
        film.name
        for film in FILMS
        if film.views <= 1000
        or film.age_days < 90
        or AS_OF - timedelta(days=film.age_days) < ten_years_ago
    ]
    assert dropped == ["golf_few_views", "hotel_too_recent"]
