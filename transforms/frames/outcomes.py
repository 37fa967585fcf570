"""What came of each video: that it was listed, its parts, and the reports on them.

A video without a frame has a dead letter, whatever the reason: a decoder that finds
nothing to show and nothing wrong leaves one as well. A video of which a part is missing
gets none: it was lost, and `inspect --verify` says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam

from clipseed.elements import Video, VideoPart
from clipseed.errors import DeadLetter
from clipseed.run.outcomes import VideoOutcome
from transforms.frames.extract import PartReport


class VideoTraces(NamedTuple):
    """Where videos leave traces on their way.

    Attributes:
        videos: the `Video`s listed.
        parts: their `VideoPart`s.
        failures: a `PartReport` per video that could not be split.
        reports: a `PartReport` per part.
    """

    videos: beam.PCollection
    parts: beam.PCollection
    failures: beam.PCollection
    reports: beam.PCollection


# By id and reference: listed, parts, sampled, frames, damages.
_Sums = tuple[int, int, int, int, int]
_Keyed = tuple[tuple[str, str], _Sums]


@dataclass(eq=False)
class AccountForVideos(beam.PTransform):
    """Dead letters under `rejected`, and one `VideoOutcome` per video.

    Attributes:
        traces: that are joined by id.
    """

    traces: VideoTraces

    def expand(self, pipeline: beam.Pipeline) -> Any:
        """Add up what there is of each video."""
        keyed = zip(VideoTraces._fields, self.traces, _KEYED, strict=True)
        traces = [
            trace | f"Key_{name}" >> beam.Map(key).with_output_types(_Keyed)
            for name, trace, key in keyed
        ]
        return (
            traces
            | "Traces" >> beam.Flatten()
            | "AddParts"
            >> beam.CombinePerKey(beam.combiners.TupleCombineFn(*[sum] * 5))
            | "Judge"
            >> beam.FlatMapTuple(_judge)
            .with_output_types(VideoOutcome)
            .with_outputs("rejected", main="outcomes")
        )


def _listed(video: Video) -> _Keyed:
    return (video.video_id, video.reference), (1, 0, 0, 0, 0)


def _split(part: VideoPart) -> _Keyed:
    return (part.video.video_id, part.video.reference), (0, 1, 0, 0, 0)


def _not_split(report: PartReport) -> _Keyed:
    return (report.video_id, report.reference), (0, 0, 0, 0, report.breaks)


def _sampled(report: PartReport) -> _Keyed:
    sums = (0, 0, 1, report.frames, report.breaks)
    return (report.video_id, report.reference), sums


_KEYED = (_listed, _split, _not_split, _sampled)


def _judge(video: tuple[str, str], sums: _Sums) -> Iterator[Any]:
    outcome = VideoOutcome(*video, *sums)
    yield outcome
    was_sampled = 0 < outcome.parts == outcome.sampled
    if was_sampled and not outcome.frames and not outcome.damages:
        dead_letter = DeadLetter(
            "extract_frames",
            outcome.video,
            "no_frames",
            "Nothing is wrong with it, but it shows no frame at any sampled instant.",
        )
        yield beam.pvalue.TaggedOutput("rejected", dead_letter)
