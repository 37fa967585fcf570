"""The decoding step: videos to chunks of frames, each video's parts on any worker."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from transforms import progress
from transforms.elements import ImageChunk, Reject, Rejected, Span, Video
from transforms.extract_frames import (
    Break,
    Frame,
    SamplingConfig,
    extract_frames,
    video_parts,
)
from transforms.fetch import FetchConfig
from transforms.isolation import Isolation
from transforms.local_copy import local_copy

# Frames in a chunk: a batch for the embedder, about 10 MB of pixels.
_CHUNK = 64


class SpanReport(NamedTuple):
    """What came of one part of a video.

    Attributes:
        video_id: of the video.
        frames: sampled and undamaged.
        breaks: places where it is damaged, a part that could not be read among them.
    """

    video_id: str
    frames: int
    breaks: int


class _DecoderFn(beam.DoFn):
    """A DoFn with a decoder process of its own."""

    def __init__(self, config: SamplingConfig, isolate: bool, fetch: FetchConfig):
        self._config = config
        self._isolate = isolate
        self._fetch = fetch

    def setup(self) -> None:
        self._isolation = Isolation(self._isolate)

    def teardown(self) -> None:
        self._isolation.close()


class _SplitFn(_DecoderFn):
    def process(self, video: Video) -> Iterator[Any]:
        limit_s, part_s = self._config.limit_s, self._config.part_s
        try:
            with local_copy(video.uri, self._fetch) as path:
                for start_us, end_us in list(
                    self._isolation.iterate(video_parts, path, part_s, limit_s=limit_s)
                ):
                    yield Span(video, start_us, end_us)
        except Reject as reject:
            letter = Rejected("probe", video.reference, reject.reason, reject.message)
            yield beam.pvalue.TaggedOutput("rejected", letter)
            report = SpanReport(video.video_id, 0, 1)
            yield beam.pvalue.TaggedOutput("reports", report)


class _ExtractFn(_DecoderFn):
    def process(self, span: Span) -> Iterator[Any]:
        video, frames, breaks = span.video, 0, 0
        for item in self._items(span):
            if isinstance(item, ImageChunk):
                frames += len(item.keys)
                yield item
            else:
                breaks += 1
                yield beam.pvalue.TaggedOutput("rejected", item)
        progress.add("parts")
        report = SpanReport(video.video_id, frames, breaks)
        yield beam.pvalue.TaggedOutput("reports", report)

    def _items(self, span: Span) -> Iterator[ImageChunk | Rejected]:
        """Chunks of frames, and a dead letter for each damage."""
        reference, held = span.video.reference, []
        try:
            with local_copy(span.video.uri, self._fetch) as path:
                for item in self._isolation.iterate(
                    extract_frames,
                    path,
                    span.start_us,
                    span.end_us,
                    self._config,
                    limit_s=self._config.limit_s,
                ):
                    if isinstance(item, Break):
                        yield _letter(reference, item)
                        continue
                    held.append(item)
                    if len(held) == _CHUNK:
                        yield _chunk(span.video, held)
                        held = []
        except Reject as reject:
            yield Rejected("extract_frames", reference, reject.reason, reject.message)
        if held:
            yield _chunk(span.video, held)


def _chunk(video: Video, frames: list[Frame]) -> ImageChunk:
    progress.add("frames", len(frames))
    times = tuple(frame.time_us for frame in frames)
    return ImageChunk(video, times, np.stack([frame.image for frame in frames]))


def _letter(reference: str, damage: Break) -> Rejected:
    message = (
        f"At {damage.time_us / 1e6:.2f} s: {damage.message}. What was decoded before "
        "is used."
    )
    return Rejected("extract_frames", reference, "broken_video", message)


@dataclass(eq=False)
class SplitVideos(beam.PTransform):
    """`Video` to the `Span`s it is sampled in; tags `reports` and `rejected`.

    Attributes:
        config: how frames are taken.
        fetch: bounds for videos on the web.
        isolate: whether FFmpeg runs in a child process.
    """

    config: SamplingConfig
    fetch: FetchConfig
    isolate: bool = True

    def expand(self, videos: beam.PCollection) -> Any:
        """Spreads the videos, and reads their headers."""
        split = _SplitFn(self.config, self.isolate, self.fetch)
        return (
            videos
            | "SpreadVideos" >> beam.Reshuffle()
            | "Split"
            >> beam.ParDo(split)
            .with_output_types(Span)
            .with_outputs("reports", "rejected", main="spans")
        )


@dataclass(eq=False)
class ExtractFrames(beam.PTransform):
    """`Span` to `ImageChunk`; tags `reports` (`SpanReport`) and `rejected`.

    Attributes:
        config: how frames are taken.
        fetch: bounds for videos on the web.
        isolate: whether decoding runs in a child process.
    """

    config: SamplingConfig
    fetch: FetchConfig
    isolate: bool = True

    def expand(self, spans: beam.PCollection) -> Any:
        """Spreads the parts of videos, and decodes them."""
        extract = _ExtractFn(self.config, self.isolate, self.fetch)
        return (
            spans
            | "SpreadSpans" >> beam.Reshuffle()
            | "Decode"
            >> beam.ParDo(extract).with_outputs("reports", "rejected", main="chunks")
        )
