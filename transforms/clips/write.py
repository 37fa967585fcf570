"""The cutting step: captions of every source to TFRecord shards of clips.

Clips are never shuffled: the worker that cuts a shard's clips writes them, video by
video, and the file appears by a rename.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import apache_beam as beam

from clipseed.elements import ClipCaption, Pair, Video
from clipseed.errors import DeadLetter, InputError
from clipseed.hashing import content_id
from clipseed.io.download import local_copy
from clipseed.io.http import FetchConfig
from clipseed.run.clip_record import ClipRecord, encode
from clipseed.run.files import CLIPS, shard_path
from clipseed.run.reader import Run
from clipseed.run.writer import RunWriter
from transforms import progress
from transforms.clips.cut import CutClip, CutConfig, Place, cut_clips
from transforms.clips.reuse import BaseClips, captions_from, open_shard, recaption
from transforms.clips.to_record import record_of
from transforms.frames.budget import most_bytes
from transforms.matches.pairs import captions_of_clip
from transforms.media.audio import BROKEN, OK
from transforms.media.isolation.worker_process import Isolation
from transforms.run.merge import dead_letter_of
from transforms.run.shards import GroupIntoShards


class ClipReport(NamedTuple):
    """One clip written: its length, its sound, and how many matches it serves."""

    duration_us: int
    sound: str
    times: int


@dataclass(frozen=True)
class ClipsConfig:
    """What is written.

    Attributes:
        run_dir: the run directory; shards go to `clips/`.
        num_shards: how many.
        cut: what a clip is.
        embedder_id: goes into the records.
        require_sound: leaves out clips whose verdict is not `ok`.
        fetch: bounds for videos on the web.
        isolate: whether decoding runs in a child process.
        base_run: whose clips are copied for videos without a `uri`.
    """

    run_dir: str
    num_shards: int
    cut: CutConfig
    embedder_id: str
    require_sound: bool
    fetch: FetchConfig
    isolate: bool
    base_run: Run | None = None


def make_record(
    clip: CutClip, rows: list[ClipCaption], config: ClipsConfig
) -> ClipRecord:
    """Join a cut clip with the matches that it is captioned by."""
    video = rows[0].video
    place = f"{video.video_id}:{clip.start_us}:{clip.end_us}"
    return record_of(
        clip,
        config.cut.fps,
        captions_from(rows),
        clip_id=content_id(place),
        video_id=video.video_id,
        video=video.reference,
        embedder=config.embedder_id,
    )


class _WriteShardFn(beam.DoFn):
    def __init__(self, config: ClipsConfig) -> None:
        self._config = config

    def setup(self) -> None:
        config = self._config
        self._isolation = Isolation(config.isolate, config.cut.max_failed_share)

    def teardown(self) -> None:
        self._isolation.close()

    def process(self, shard: tuple[int, Iterable[ClipCaption]]) -> Iterator[Any]:
        number, selected = shard
        config, outcome = self._config, _Outcome()
        path = shard_path(CLIPS, number, config.num_shards)
        with open_shard(config.base_run, path) as base:
            records = self._records(selected, base, outcome)
            writer = RunWriter(config.run_dir)
            file = writer.write_clips(number, config.num_shards, records)
        yield beam.pvalue.TaggedOutput("files", file)
        yield beam.pvalue.TaggedOutput("cuts", outcome.cuts)
        yield from outcome.pairs
        for tag in ("reports", "rejected"):
            for element in getattr(outcome, tag):
                yield beam.pvalue.TaggedOutput(tag, element)

    def _records(
        self,
        selected: Iterable[ClipCaption],
        base: BaseClips | None,
        outcome: "_Outcome",
    ) -> Iterator[bytes]:
        ordered = sorted(selected, key=lambda row: (row.video.video_id, row.time_us))
        for video, group in groupby(ordered, key=lambda row: row.video):
            rows = list(group)
            waiting = {place_of(row) for row in rows}
            outcome.cuts += len(waiting)
            try:
                if base is not None and not video.uri:
                    yield from _copied_records(video, rows, waiting, base, outcome)
                    continue
                yield from self._video_records(video, rows, waiting, outcome)
            except InputError as error:
                outcome.drop(video, waiting, error.reason, error.message)
            else:
                message = "No frame could be decoded around it."
                outcome.drop(video, waiting, "no_frames", message)

    def _video_records(
        self,
        video: Video,
        rows: list[ClipCaption],
        waiting: set[Place],
        outcome: "_Outcome",
    ) -> Iterator[bytes]:
        config = self._config
        with local_copy(video.uri, config.fetch) as path:
            for clip in self._isolation.iterate(
                cut_clips,
                list(waiting),
                config.cut,
                file=path,
                max_bytes=most_bytes(path, len(waiting)),
                limit_s=config.cut.limit_s,
            ):
                done = waiting & {clip.part, *clip.times_us}
                waiting -= done
                if clip.sound.verdict == BROKEN:
                    outcome.note_broken_sound(video, clip)
                if config.require_sound and clip.sound.verdict != OK:
                    reason = f"sound_{clip.sound.verdict}"
                    outcome.drop(video, done, reason, clip.sound.message)
                    continue
                captions = captions_of_clip(r for r in rows if place_of(r) in done)
                record = make_record(clip, captions, config)
                outcome.add(record, captions, len(done))
                yield encode(record)


def _copied_records(
    video: Video,
    rows: list[ClipCaption],
    waiting: set[Place],
    base: BaseClips,
    outcome: "_Outcome",
) -> Iterator[bytes]:
    """Yield clips of the base run; take over its dead letters for those it lacks."""
    for clip in base.of_video(video.video_id):
        record, captions = recaption(clip, rows)
        if not captions:
            continue
        waiting -= set(record.times_us)
        if record.sound_verdict == BROKEN:
            outcome.take_over(base, "read_sound", video, record.start_us)
        outcome.add(record, captions, len(record.times_us))
        yield encode(record)
    for place in waiting:
        outcome.take_over(base, "write_clips", video, _start_us(place))


class _Outcome:
    """What comes of writing a shard besides the file."""

    def __init__(self) -> None:
        self.cuts = 0
        self.pairs: list[Pair] = []
        self.reports: list[ClipReport] = []
        self.rejected: list[DeadLetter] = []

    def add(self, record: ClipRecord, rows: list[ClipCaption], times: int) -> None:
        duration_us = record.end_us - record.start_us
        self.reports.append(ClipReport(duration_us, record.sound_verdict, times))
        progress.add("clips")
        self.pairs.extend(
            Pair(
                record.video,
                record.start_us,
                record.end_us,
                row.caption,
                record.clip_id,
                record.video_id,
                row.seed_id,
                row.image,
                row.rank,
                row.similarity,
                row.time_us,
                record.sound_verdict,
                row.source,
            )
            for row in rows
        )

    def drop(
        self, video: Video, places: Iterable[Place], reason: str, message: str
    ) -> None:
        for place in places:
            key = _key(video, _start_us(place))
            self.rejected.append(DeadLetter("write_clips", key, reason, message))

    def take_over(
        self, base: BaseClips, stage: str, video: Video, time_us: int
    ) -> None:
        key = _key(video, time_us)
        message = "The base run has neither this clip nor a reason why."
        missing = DeadLetter(stage, key, "not_in_base_run", message)
        self.rejected.append(dead_letter_of(base.run, stage, key) or missing)

    def note_broken_sound(self, video: Video, clip: CutClip) -> None:
        key = _key(video, clip.start_us)
        message = f"{clip.sound.message} The clip is kept, with what could be decoded."
        self.rejected.append(DeadLetter("read_sound", key, "broken_sound", message))


def place_of(row: ClipCaption) -> Place:
    """Return the boundaries of a caption's clip, or the time that it is cut around.

    Not a property: on clusters the coder of rows makes a class of its own.
    """
    given = row.start_us, row.end_us
    return row.time_us if given == (-1, -1) else given


def _start_us(place: Place) -> int:
    return place if isinstance(place, int) else place[0]


def _key(video: Video, time_us: int) -> str:
    """Return the key of dead letters about a time of a video."""
    return f"{video.reference}@{time_us / 1e6:.3f}s"


@dataclass(eq=False)
class WriteClips(beam.PTransform):
    """`ClipCaption` to `Pair`; tags `files`, `reports`, `rejected` and `cuts`.

    `cuts` counts the places to cut, a number a shard.

    Attributes:
        config: what is written.
    """

    config: ClipsConfig

    def expand(self, selected: beam.PCollection) -> Any:
        """Group by shard of the video, and cut."""
        return (
            selected
            | "KeyByVideo"
            >> beam.Map(lambda row: (row.video.video_id, row)).with_output_types(
                tuple[str, ClipCaption]
            )
            | GroupIntoShards(self.config.num_shards, ClipCaption)
            | "Cut"
            >> beam.ParDo(_WriteShardFn(self.config)).with_outputs(
                "files", "reports", "rejected", "cuts", main="pairs"
            )
        )
