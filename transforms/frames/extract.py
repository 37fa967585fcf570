"""The decoding step: videos to chunks of frames, each video's parts on any worker."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from clipseed.elements import EmbeddedChunk, ImageChunk, Video, VideoPart
from clipseed.errors import DeadLetter, InputError
from clipseed.io.download import local_copy
from clipseed.io.http import FetchConfig
from transforms import progress
from transforms.frames.budget import VideoBudget, most_bytes
from transforms.frames.embedding_cache import CachedPart, EmbeddingCache, video_version
from transforms.frames.spread_parts import SpreadParts
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


class PartReport(NamedTuple):
    """What came of one part of a video.

    Attributes:
        video_id: of the video.
        reference: the video as the corpus names it.
        frames: sampled and undamaged.
        breaks: places where it is damaged, a part that could not be read among them.
        kept: whether it was not decoded, but read from the frame embedding cache.
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
            yield from self._parts(video)
        except InputError as error:
            yield beam.pvalue.TaggedOutput(
                "rejected",
                DeadLetter("probe", video.reference, error.reason, error.message),
            )
            report = PartReport(video.video_id, video.reference, 0, 1)
            yield beam.pvalue.TaggedOutput("reports", report)

    def _parts(self, video: Video) -> list[VideoPart]:
        version = video_version(video.uri) if self._kept else ""
        if self._kept is None or not version:
            return [VideoPart(video, *ends) for ends in self._probe(video)]
        parts = self._kept.parts(video, version)
        if parts is None:
            ends = self._probe(video)
            self._kept.keep_ends(video, version, ends)
            parts = self._kept.name_parts(video, version, ends)
        return parts

    def _probe(self, video: Video) -> list[tuple[int, int]]:
        limit_s, part_s = self._config.limit_s, self._config.part_s
        max_duration_s = self._config.max_duration_s
        with local_copy(video.uri, self._fetch) as path:
            parts = self._isolation.iterate(
                video_parts,
                part_s,
                max_duration_s,
                file=path,
                max_bytes=most_bytes(path, 1),
                limit_s=limit_s,
            )
            return list(parts)


class _ExtractFn(_DecoderFn):
    def setup(self) -> None:
        super().setup()
        self._budget = VideoBudget(self._config.limit_s, self._config.part_s)

    def process(self, part: VideoPart) -> Iterator[Any]:
        video, frames, breaks = part.video, 0, 0
        cached = None
        if self._kept and part.keep_as:
            cached = self._kept.read_part(part.keep_as)
        items = self._decode(part) if cached is None else _from_cache(video, cached)
        for item in items:
            if isinstance(item, DeadLetter):
                breaks += 1
                yield beam.pvalue.TaggedOutput("rejected", item)
            else:
                frames += len(item.keys)
                yield item
        progress.add("parts")
        report = PartReport(
            video.video_id, video.reference, frames, breaks, cached is not None
        )
        yield beam.pvalue.TaggedOutput("reports", report)

    def _decode(self, part: VideoPart) -> Iterator[ImageChunk | DeadLetter]:
        """Yield chunks of frames, and a dead letter for each damage."""
        chunks = _Chunks(part, self._kept if part.keep_as else None)
        video_id, isolation = part.video.video_id, self._isolation
        config = self._config._replace(limit_s=self._budget.limit_s(video_id))
        start_s = time.monotonic()
        try:
            with local_copy(part.video.uri, self._fetch) as path:
                max_bytes = self._budget.max_bytes(video_id, path)
                for item in isolation.iterate(
                    extract_frames,
                    part.start_us,
                    part.end_us,
                    config,
                    file=path,
                    max_bytes=max_bytes,
                    limit_s=config.limit_s,
                ):
                    yield from chunks.take(item)
        except InputError as error:
            reference = part.video.reference
            yield from chunks.end()
            yield DeadLetter("extract_frames", reference, error.reason, error.message)
        else:
            yield from chunks.end()
            chunks.keep()
        finally:
            taken_s = time.monotonic() - start_s
            self._budget.spend(video_id, taken_s, isolation.read_bytes)


class _Chunks:
    """The chunks of a part's frames, and what the part was made of."""

    def __init__(self, part: VideoPart, kept: EmbeddingCache | None) -> None:
        self._part = part
        self._kept = kept
        self._held: list[Frame] = []
        self._lengths: list[int] = []
        self._breaks: list[Break] = []

    def take(self, item: Frame | Break) -> Iterator[ImageChunk | DeadLetter]:
        """Yield a chunk when it is full, and a dead letter for each damage."""
        if isinstance(item, Break):
            self._breaks.append(item)
            yield _dead_letter(self._part.video.reference, item)
            return
        self._held.append(item)
        if len(self._held) == _CHUNK:
            yield from self.end()

    def end(self) -> Iterator[ImageChunk]:
        """Yield the frames that wait, if any."""
        if not self._held:
            return
        held, self._held = self._held, []
        keep_as = ""
        if self._kept is not None:
            number = len(self._lengths)
            name = self._kept.chunk_name(self._part.keep_as, number)
            keep_as = self._kept.uri(name)
        self._lengths.append(len(held))
        progress.add("frames", len(held))
        times = tuple(frame.time_us for frame in held)
        images = np.stack([frame.image for frame in held])
        yield ImageChunk(self._part.video, times, images, keep_as)

    def keep(self) -> None:
        """Store for later runs what the part is made of; they try again what failed."""
        if self._kept is not None:
            self._kept.keep_part(self._part.keep_as, self._lengths, self._breaks)


def _from_cache(video: Video, part: CachedPart) -> Iterator[EmbeddedChunk | DeadLetter]:
    for times_us, embeddings in part.chunks:
        yield EmbeddedChunk(video, times_us, embeddings)
    for damage in part.breaks:
        yield _dead_letter(video.reference, damage)


def _dead_letter(reference: str, damage: Break) -> DeadLetter:
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
        """Spread the videos, and read their headers."""
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

    def expand(self, parts: beam.PCollection) -> Any:
        """Spread the parts of videos, and decode them."""
        extract = _ExtractFn(self.config, self.isolate, self.fetch, self.kept)
        return (
            parts
            | SpreadParts()
            | "Decode"
            >> beam.ParDo(extract).with_outputs("reports", "rejected", main="chunks")
        )
