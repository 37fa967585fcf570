"""What came of each video: the reports on its parts, added up.

A video without a frame has a dead letter, whatever the reason: a decoder that finds
nothing to show and nothing wrong leaves one as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam

from clipseed.errors import DeadLetter
from transforms.frames.extract import PartReport


class VideoOutcome(NamedTuple):
    """What came of one video.

    Attributes:
        video_id: of the video.
        reference: the video as the corpus names it.
        frames: sampled and undamaged.
        breaks: places where it is damaged; each has a dead letter.
    """

    video_id: str
    reference: str
    frames: int
    breaks: int


@dataclass(eq=False)
class AccountForVideos(beam.PTransform):
    """`PartReport` to one `VideoOutcome` per video; dead letters under `rejected`."""

    def expand(self, reports: beam.PCollection) -> Any:
        """Add up the parts of each video."""
        return (
            reports
            | "ByVideo" >> beam.Map(_keyed).with_output_types(_Keyed)
            | "AddParts" >> beam.CombinePerKey(beam.combiners.TupleCombineFn(sum, sum))
            | "Judge"
            >> beam.FlatMapTuple(_judge).with_outputs("rejected", main="outcomes")
        )


_Keyed = tuple[tuple[str, str], tuple[int, int]]


def _keyed(report: PartReport) -> _Keyed:
    return (report.video_id, report.reference), (report.frames, report.breaks)


def _judge(video: tuple[str, str], sums: tuple[int, int]) -> Iterator[Any]:
    outcome = VideoOutcome(*video, *sums)
    yield outcome
    if not outcome.frames and not outcome.breaks:
        dead_letter = DeadLetter(
            "extract_frames",
            outcome.reference,
            "no_frames",
            "Nothing is wrong with it, but it shows no frame at any sampled instant.",
        )
        yield beam.pvalue.TaggedOutput("rejected", dead_letter)
