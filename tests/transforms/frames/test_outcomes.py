"""The outcome of each video, and a dead letter for those without a frame."""

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the elements' coders)
from transforms.frames.extract import PartReport
from transforms.frames.outcomes import AccountForVideos, VideoOutcome


def test_parts_add_up_and_nothing_goes_without_a_reason() -> None:
    reports = [
        PartReport("1", "a.mp4", 3, 0),
        PartReport("1", "a.mp4", 0, 0),
        PartReport("2", "b.mp4", 0, 0),
        PartReport("2", "b.mp4", 0, 0),
        PartReport("3", "c.mp4", 0, 1),
        PartReport("4", "d.mp4", 5, 1, kept=True),
    ]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        found = pipeline | beam.Create(reports) | AccountForVideos()
        outcomes = [
            VideoOutcome("1", "a.mp4", 3, 0),
            VideoOutcome("2", "b.mp4", 0, 0),
            VideoOutcome("3", "c.mp4", 0, 1),
            VideoOutcome("4", "d.mp4", 5, 1),
        ]
        assert_that(found.outcomes, equal_to(outcomes))
        dead_letters = found.rejected | beam.Map(lambda found: found[:3])
        wanted = [("extract_frames", "b.mp4", "no_frames")]
        assert_that(dead_letters, equal_to(wanted), label="dead letters")
