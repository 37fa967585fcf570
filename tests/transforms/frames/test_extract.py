"""Videos to parts, parts to chunks of frames, and a report on each."""

import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import Video, VideoPart
from clipseed.io.http import FetchConfig
from models.pretrained.resizing import squeeze
from tests.support.made_media import corrupt_from, film, write_video
from transforms import progress
from transforms.frames.extract import (
    ExtractFrames,
    PartReport,
    SplitVideos,
    _ExtractFn,
    _SplitFn,
)
from transforms.media.sample_frames import SamplingConfig

S = 1_000_000
END = 2**62  # of a video's last part: whatever its header says
KEYINT = {"x264-params": "keyint=10:scenecut=0"}


def config(fps: float = 1.0, part_s: float = 120.0) -> SamplingConfig:
    return SamplingConfig(fps, "exact", squeeze(16), part_s, 60.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "film.mp4", film(1, 5))
    write_video(root / "broken.mp4", film(2, 5), options=KEYINT)
    corrupt_from(root / "broken.mp4", 2.0)
    (root / "text.mp4").write_text("no video")
    return root


def video(folder: Path, name: str) -> Video:
    return Video(f"id of {name}", name, str(folder / name))


def outcome(fn: beam.DoFn, element: Any, main: str) -> dict[str, list]:
    """Everything that a step makes of an element, by tag."""
    found: dict[str, list] = {main: [], "reports": [], "rejected": []}
    fn.setup()
    for item in fn.process(element):
        if isinstance(item, beam.pvalue.TaggedOutput):
            found[item.tag].append(item.value)
        else:
            found[main].append(item)
    fn.teardown()
    return found


@pytest.mark.parametrize("isolate", [False, True])
def test_a_video_is_split_into_parts(folder: Path, isolate: bool) -> None:
    whole = video(folder, "film.mp4")
    split = _SplitFn(config(part_s=2), isolate, FetchConfig())
    assert outcome(split, whole, "parts") == {
        "parts": [
            VideoPart(whole, 0, 2 * S),
            VideoPart(whole, 2 * S, 4 * S),
            VideoPart(whole, 4 * S, END),
        ],
        "reports": [],
        "rejected": [],
    }


@pytest.mark.parametrize(
    ("name", "reason"), [("text.mp4", "not_a_video"), ("absent.mp4", "not_found")]
)
@pytest.mark.parametrize("isolate", [False, True])
def test_what_is_no_video_is_told(
    folder: Path, name: str, reason: str, isolate: bool
) -> None:
    split = _SplitFn(config(), isolate, FetchConfig())
    found = outcome(split, video(folder, name), "parts")
    (dead_letter,) = found["rejected"]
    assert dead_letter[:3] == ("probe", name, reason)
    assert found["reports"] == [PartReport(f"id of {name}", name, 0, 1)]
    assert found["parts"] == []


def extract(
    part: VideoPart, fps: float = 1.0, limit_s: float = 60.0
) -> dict[str, list]:
    settings = config(fps)._replace(limit_s=limit_s)
    return outcome(_ExtractFn(settings, False, FetchConfig()), part, "chunks")


def test_frames_come_in_chunks_of_64(folder: Path) -> None:
    whole = video(folder, "film.mp4")
    progress.reset()
    found = extract(VideoPart(whole, 0, END), fps=25)
    first, second = found["chunks"]
    assert (len(first.keys), len(second.keys)) == (64, 61)
    assert first.keys + second.keys == tuple(range(0, 5 * S, 40_000))
    assert first.source == second.source == whole
    assert first.images.shape == (64, 16, 16, 3) and first.images.dtype == np.uint8
    assert found["rejected"] == []
    assert found["reports"] == [PartReport("id of film.mp4", "film.mp4", 125, 0)]
    assert progress.snapshot() == {"parts": 1, "frames": 125}


def test_parts_give_the_frames_of_the_whole(folder: Path) -> None:
    whole = video(folder, "film.mp4")
    parts = [extract(VideoPart(whole, *ends)) for ends in ((0, 2 * S), (2 * S, END))]
    chunks = [chunk for part in parts for chunk in part["chunks"]]
    assert [chunk.keys for chunk in chunks] == [(0, S), (2 * S, 3 * S, 4 * S)]
    (alone,) = extract(VideoPart(whole, 0, END))["chunks"]
    joined = np.concatenate([chunk.images for chunk in chunks])
    np.testing.assert_array_equal(joined, alone.images)
    assert [part["reports"][0].frames for part in parts] == [2, 3]


def test_frames_before_a_break_are_used(folder: Path) -> None:
    found = extract(VideoPart(video(folder, "broken.mp4"), 0, END))
    (chunk,) = found["chunks"]
    assert chunk.keys == (0, S)
    (dead_letter,) = found["rejected"]
    assert dead_letter[:3] == ("extract_frames", "broken.mp4", "broken_video")
    # By decoding time, which lies before that of showing.
    assert re.match(r"At (1\.9\d|2\.00) s: ", dead_letter.message)
    assert dead_letter.message.endswith("next random access point are left out.")
    assert found["reports"] == [PartReport("id of broken.mp4", "broken.mp4", 2, 1)]


@pytest.mark.parametrize(
    ("name", "limit_s", "reason"),
    [("absent.mp4", 60.0, "not_found"), ("film.mp4", -1.0, "decode_timeout")],
)
def test_a_part_that_cannot_be_decoded_is_a_break(
    folder: Path, name: str, limit_s: float, reason: str
) -> None:
    found = extract(VideoPart(video(folder, name), 0, END), limit_s=limit_s)
    (dead_letter,) = found["rejected"]
    assert dead_letter[:3] == ("extract_frames", name, reason)
    assert found["reports"] == [PartReport(f"id of {name}", name, 0, 1)]
    assert found["chunks"] == []


def test_a_part_without_frames_is_reported(folder: Path) -> None:
    found = extract(VideoPart(video(folder, "film.mp4"), 60 * S, END))
    report = PartReport("id of film.mp4", "film.mp4", 0, 0)
    assert found == {"chunks": [], "rejected": [], "reports": [report]}


def test_in_a_pipeline_from_videos_to_frames(folder: Path) -> None:
    names = ("film.mp4", "broken.mp4", "text.mp4")
    videos = [video(folder, name) for name in names]
    settings = config(part_s=3)
    with TestPipeline(runner="FnApiRunner") as pipeline:
        split = pipeline | beam.Create(videos) | SplitVideos(settings, FetchConfig())
        frames = split.parts | ExtractFrames(settings, FetchConfig())
        found = frames.chunks | beam.Map(lambda c: (c.source.reference, c.keys))
        wanted = [
            ("film.mp4", (0, S, 2 * S)),
            ("film.mp4", (3 * S, 4 * S)),
            ("broken.mp4", (0, S)),
        ]
        assert_that(found, equal_to(wanted))
        reports = (split.reports, frames.reports) | beam.Flatten()
        sums = (
            reports
            | beam.Map(lambda r: (r.video_id, r.frames)).with_output_types(
                tuple[str, int]
            )
            | beam.CombinePerKey(sum)
        )
        counts = [("id of film.mp4", 5), ("id of broken.mp4", 2), ("id of text.mp4", 0)]
        assert_that(sums, equal_to(counts), label="reports")


def test_a_part_that_reads_too_much_is_a_break(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.frames.budget._FREE_BYTES", 0)
    for passes in ("PASSES", "PASSES_PER_PART"):
        monkeypatch.setattr(f"transforms.frames.budget.{passes}", 0.2)
    found = extract(VideoPart(video(folder, "film.mp4"), 0, END))
    (dead_letter,) = found["rejected"]
    assert dead_letter[:3] == ("extract_frames", "film.mp4", "read_too_often")
