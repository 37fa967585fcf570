"""The outcome of each video, and a dead letter for those without a frame."""

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import Video, VideoPart
from clipseed.run.outcomes import VideoOutcome
from transforms.frames.extract import PartReport
from transforms.frames.outcomes import AccountForVideos, VideoTraces

VIDEOS = [Video(str(i), f"{i}.mp4", f"/{i}.mp4") for i in range(7)]
PARTS = [VideoPart(VIDEOS[i], start_us, 9) for i in (1, 2, 6) for start_us in (0, 5)]
PARTS += [VideoPart(VIDEOS[i], 0, 9) for i in (4, 5)]


def report(video: int, *counts: int, kept: bool = False) -> PartReport:
    return PartReport(str(video), f"{video}.mp4", *counts, kept)


FAILURES = [report(3, 0, 1)]
REPORTS = [
    *(report(1, 3, 0), report(1, 0, 0)),
    *(report(2, 0, 0), report(2, 0, 0)),
    *(report(4, 5, 1, kept=True), report(5, 0, 2)),
    report(6, 0, 0),  # Its other part is lost.
]


def test_parts_add_up_and_nothing_goes_without_a_reason() -> None:
    elements = VIDEOS, PARTS, FAILURES, REPORTS
    with TestPipeline(runner="FnApiRunner") as pipeline:
        traces = (
            pipeline | name >> beam.Create(some)
            for name, some in zip(VideoTraces._fields, elements, strict=True)
        )
        found = pipeline | AccountForVideos(VideoTraces(*traces))
        outcomes = [
            VideoOutcome("0", "0.mp4", 1, 0, 0, 0, 0),  # lost
            VideoOutcome("1", "1.mp4", 1, 2, 2, 3, 0),
            VideoOutcome("2", "2.mp4", 1, 2, 2, 0, 0),
            VideoOutcome("3", "3.mp4", 1, 0, 0, 0, 1),
            VideoOutcome("4", "4.mp4", 1, 1, 1, 5, 1),
            VideoOutcome("5", "5.mp4", 1, 1, 1, 0, 2),
            VideoOutcome("6", "6.mp4", 1, 2, 1, 0, 0),
        ]
        assert_that(found.outcomes, equal_to(outcomes))
        dead_letters = found.rejected | beam.Map(lambda found: found[:3])
        wanted = [("extract_frames", "2.mp4", "no_frames")]
        assert_that(dead_letters, equal_to(wanted), label="dead letters")
