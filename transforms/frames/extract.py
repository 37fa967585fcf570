"""The decoding step: videos to chunks of frames, each video's parts on any worker."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from clipseed.elements import EmbeddedChunk, ImageChunk, Video, VideoPart
from clipseed.errors import DeadLetter, InputError
from clipseed.io import storage
from clipseed.io.download import local_copy
from clipseed.io.http import FetchConfig
from transforms import progress
from transforms.frames.embedding_cache import CachedPart, EmbeddingCache, video_version
from transforms.media.isolation.worker_process import Isolation
from transforms.media.sample_frames import (
    Break,
    Frame,
    SamplingConfig,
    extract_frames,
)
from transforms.media.video_parts import video_parts

# Frames in a chunk: a batch for the embedder, about 10 MB of pixels.
_CHUNK = 64
# Videos that took long; those before them are done.
_REMEMBERED = 1000


class PartReport(NamedTuple):
    """What came of one part of a video.

    Attributes:
        video_id: of the video.
        reference: the video as the corpus names it.
        frames: sampled and undamaged.
        breaks: places where it is damaged, a part that could not be read among them.
        kept: whether it was not decoded, but read from kept embeddings.
    """

    video_id: str
    reference: str
    frames: int
    breaks: int
    kept: bool = False


class _DecoderFn(beam.DoFn):
    """A DoFn with a decoder process of its own."""

    def __init__(
        self,
        config: SamplingConfig,
        isolate: bool,
        fetch: FetchConfig,
        kept: EmbeddingCache | None = None,
    ) -> None:
        self._config = config
        self._isolate = isolate
        self._fetch = fetch
        self._kept = kept

    def setup(self) -> None:
        self._isolation = Isolation(self._isolate, self._config.max_failed_share)

    def teardown(self) -> None:
        self._isolation.close()


class _SplitFn(_DecoderFn):
    def process(self, video: Video) -> Iterator[Any]:
        try:
            yield from self._spans(video)
        except InputError as reject:
            letter = DeadLetter("probe", video.reference, reject.reason, reject.message)
            yield beam.pvalue.TaggedOutput("rejected", letter)
            report = PartReport(video.video_id, video.reference, 0, 1)
            yield beam.pvalue.TaggedOutput("reports", report)

    def _spans(self, video: Video) -> list[VideoPart]:
        version = video_version(video.uri) if self._kept else ""
        if self._kept is None or not version:
            return [VideoPart(video, *ends) for ends in self._probe(video)]
        spans = self._kept.spans(video, version)
        if spans is None:
            ends = self._probe(video)
            self._kept.keep_ends(video, version, ends)
            spans = self._kept.name_spans(video, version, ends)
        return spans

    def _probe(self, video: Video) -> list[tuple[int, int]]:
        limit_s, part_s = self._config.limit_s, self._config.part_s
        max_duration_s = self._config.max_duration_s
        with local_copy(video.uri, self._fetch) as path:
            parts = self._isolation.iterate(
                video_parts, part_s, max_duration_s, file=path, limit_s=limit_s
            )
            return list(parts)


class _ExtractFn(_DecoderFn):
    def setup(self) -> None:
        super().setup()
        self._overtime = _Overtime(self._config)

    def process(self, span: VideoPart) -> Iterator[Any]:
        video, frames, breaks = span.video, 0, 0
        part = (
            self._kept.read_part(span.keep_as) if self._kept and span.keep_as else None
        )
        for item in self._decode(span) if part is None else _from_kept(video, part):
            if isinstance(item, DeadLetter):
                breaks += 1
                yield beam.pvalue.TaggedOutput("rejected", item)
            else:
                frames += len(item.keys)
                yield item
        progress.add("parts")
        report = PartReport(
            video.video_id, video.reference, frames, breaks, part is not None
        )
        yield beam.pvalue.TaggedOutput("reports", report)

    def _decode(self, span: VideoPart) -> Iterator[ImageChunk | DeadLetter]:
        """Chunks of frames, and a dead letter for each damage."""
        part = _Part(span, self._kept if span.keep_as else None)
        config = self._config._replace(limit_s=self._overtime.limit_s(span))
        start_s = time.monotonic()
        try:
            with local_copy(span.video.uri, self._fetch) as path:
                for item in self._isolation.iterate(
                    extract_frames,
                    span.start_us,
                    span.end_us,
                    config,
                    file=path,
                    limit_s=config.limit_s,
                ):
                    yield from part.take(item)
        except InputError as reject:
            reference = span.video.reference
            yield from part.end()
            yield DeadLetter("extract_frames", reference, reject.reason, reject.message)
        else:
            yield from part.end()
            part.keep()
        finally:
            self._overtime.add(span, time.monotonic() - start_s)


class _Overtime:
    """One budget of time for a video over all its parts, in one worker.

    A part may take as long as it lasts. What it takes beyond that comes out of the
    video's limit: however many parts a header declares, they cost no more than the
    limit and the time that they would take to watch.
    """

    def __init__(self, config: SamplingConfig) -> None:
        self._config = config
        self._spent_s: OrderedDict[str, float] = OrderedDict()

    def limit_s(self, span: VideoPart) -> float:
        """How long a part may take."""
        limit_s = self._config.limit_s
        left_s = limit_s - self._spent_s.get(span.video.video_id, 0.0)
        return min(limit_s, max(left_s, 0.0) + self._config.part_s)

    def add(self, span: VideoPart, taken_s: float) -> None:
        """Count what a part took."""
        beyond_s = taken_s - self._config.part_s
        if beyond_s > 0:
            spent_s = self._spent_s.pop(span.video.video_id, 0.0)
            self._spent_s[span.video.video_id] = spent_s + beyond_s
            if len(self._spent_s) > _REMEMBERED:
                self._spent_s.popitem(last=False)


class _Part:
    """Puts a part's frames into chunks, and remembers what it was made of."""

    def __init__(self, span: VideoPart, kept: EmbeddingCache | None) -> None:
        self._span = span
        self._kept = kept
        self._held: list[Frame] = []
        self._lengths: list[int] = []
        self._breaks: list[Break] = []

    def take(self, item: Frame | Break) -> Iterator[ImageChunk | DeadLetter]:
        """Yields a chunk when it is full, and a dead letter for each damage."""
        if isinstance(item, Break):
            self._breaks.append(item)
            yield _letter(self._span.video.reference, item)
            return
        self._held.append(item)
        if len(self._held) == _CHUNK:
            yield from self.end()

    def end(self) -> Iterator[ImageChunk]:
        """Yields the frames that wait, if any."""
        if not self._held:
            return
        held, self._held = self._held, []
        keep_as = ""
        if self._kept is not None:
            number = len(self._lengths)
            name = self._kept.chunk_name(self._span.keep_as, number)
            keep_as = self._kept.uri(name)
        self._lengths.append(len(held))
        progress.add("frames", len(held))
        times = tuple(frame.time_us for frame in held)
        images = np.stack([frame.image for frame in held])
        yield ImageChunk(self._span.video, times, images, keep_as)

    def keep(self) -> None:
        """Tells later runs what the part is made of; what failed they try again."""
        if self._kept is not None:
            self._kept.keep_part(self._span.keep_as, self._lengths, self._breaks)


def _from_kept(video: Video, part: CachedPart) -> Iterator[EmbeddedChunk | DeadLetter]:
    for times_us, embeddings in part.chunks:
        yield EmbeddedChunk(video, times_us, embeddings)
    for damage in part.breaks:
        yield _letter(video.reference, damage)


def _letter(reference: str, damage: Break) -> DeadLetter:
    message = f"At {damage.time_us / 1e6:.2f} s: {damage.message}."
    return DeadLetter("extract_frames", reference, "broken_video", message)


@dataclass(eq=False)
class SplitVideos(beam.PTransform):
    """`Video` to the `VideoPart`s it is sampled in; tags `reports` and `rejected`.

    Attributes:
        config: how frames are taken.
        fetch: bounds for videos on the web.
        isolate: whether FFmpeg runs in a child process.
        kept: what earlier attempts found out, and this one keeps; None for nothing.
    """

    config: SamplingConfig
    fetch: FetchConfig
    isolate: bool = True
    kept: EmbeddingCache | None = None

    def expand(self, videos: beam.PCollection) -> Any:
        """Spreads the videos, and reads their headers."""
        split = _SplitFn(self.config, self.isolate, self.fetch, self.kept)
        return (
            videos
            | "SpreadVideos" >> beam.Reshuffle()
            | "Split"
            >> beam.ParDo(split)
            .with_output_types(VideoPart)
            .with_outputs("reports", "rejected", main="parts")
        )


@dataclass(eq=False)
class ExtractFrames(beam.PTransform):
    """`VideoPart` to `ImageChunk`; tags `reports` (`PartReport`) and `rejected`.

    Of a part whose embeddings are kept, `EmbeddedChunk`s come instead.

    Attributes:
        config: how frames are taken.
        fetch: bounds for videos on the web.
        isolate: whether decoding runs in a child process.
        kept: as of `SplitVideos`.
    """

    config: SamplingConfig
    fetch: FetchConfig
    isolate: bool = True
    kept: EmbeddingCache | None = None

    def expand(self, spans: beam.PCollection) -> Any:
        """Spreads the parts of videos, and decodes them."""
        extract = _ExtractFn(self.config, self.isolate, self.fetch, self.kept)
        return (
            spans
            | SpreadParts()
            | "Decode"
            >> beam.ParDo(extract).with_outputs("reports", "rejected", main="chunks")
        )


# A remote video is fetched anew for each of its stretches of this length; one worker
# decodes a stretch.
_STRETCH_US = 600_000_000


def stretch(span: VideoPart) -> str:
    """Names what one worker decodes: a part of a file that is here, else a stretch.

    Example:
        Of a video in a bucket, the parts from 0 to 10 minutes share a name.
    """
    start_us = span.start_us
    if storage.is_remote(span.video.uri):
        start_us -= start_us % _STRETCH_US
    return f"{span.video.video_id}@{start_us}"


@dataclass(eq=False)
class SpreadParts(beam.PTransform):
    """Spreads parts over the workers, those of a stretch one by one."""

    def expand(self, spans: beam.PCollection) -> beam.PCollection:
        """Groups by stretch."""
        return (
            spans
            | "KeyByStretch"
            >> beam.Map(lambda span: (stretch(span), span)).with_output_types(
                tuple[str, VideoPart]
            )
            | "Group" >> beam.GroupByKey()
            | "Parts"
            >> beam.FlatMapTuple(lambda _, parts: parts).with_output_types(VideoPart)
        )
