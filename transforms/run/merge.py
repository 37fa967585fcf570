"""What an older run gives to a run over new videos that is merged with it.

The older run's matches compete with the new ones for the top of each seed, its dead
letters and sums are taken over, and its clips are copied: adding videos only displaces,
so whatever is chosen now of an older video was chosen then. For in `select_top` a match
of a video is ruled out by better matches of the same video, or because the top is full
already; neither can be undone by matches of other videos.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow.parquet as pq

from clipseed.elements import Match, Seed, Video
from clipseed.errors import DeadLetter
from clipseed.io import storage
from transforms.run.manifest import SEEDS_FINGERPRINT, Tally
from transforms.run.shards import shard_name, shard_of

SEEDS_DIFFER = "the seeds differ from the older run's"
# Stages that an older run has done for good; later ones are done anew for all videos.
_CORPUS_STAGES = (
    "list_videos",
    "filter_videos",
    "probe",
    "extract_frames",
    "embed_frames",
)
_CORPUS_COUNTS = (
    "videos",
    "videos_mined",
    "videos_failed",
    "videos_broken",
    "parts",
    "parts_kept",
    "frames",
    "frames_embedded",
)


@dataclass(frozen=True)
class BaseRun:
    """A finished run, as its `run.json` tells.

    Attributes:
        run_dir: where it is.
        files: what it holds, by path inside it.
        counts: its sums.
        seeds_fingerprint: of the seeds it was mined with.
        num_shards: files a table.
    """

    run_dir: str
    files: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    seeds_fingerprint: int
    num_shards: int

    def files_of(self, table: str) -> list[str]:
        """The files of a table, by URI."""
        paths = (path for path in self.files if path.startswith(f"{table}/"))
        return [storage.join(self.run_dir, path) for path in paths]

    def corpus_counts(self) -> list[tuple[str, int]]:
        """The sums of the stages that are not done again."""
        letters = tuple(f"rejected/{stage}/" for stage in _CORPUS_STAGES)
        return [
            (name, count)
            for name, count in self.counts
            if name in _CORPUS_COUNTS or name.startswith(letters)
        ]

    def letter(self, stage: str, key: str) -> DeadLetter | None:
        """The dead letter that it has for a key, if any."""
        shard = shard_of(key, self.num_shards)
        name = shard_name("rejected", shard, self.num_shards, ".jsonl")
        uri = storage.join(self.run_dir, f"rejected/{name}")
        same = (m for m in _letters_of(uri) if (m.stage, m.key) == (stage, key))
        return next(same, None)


def seeds_fingerprint(seed: Seed) -> int:
    """A seed's share of the fingerprint of all: they are added up, in any order.

    36 bits, so that the sum over 100 million seeds fits into 64.
    """
    digest = hashlib.sha256(json.dumps(seed).encode()).digest()
    return int.from_bytes(digest[:8]) >> 28


def read_matches(uri: str, min_similarity: float) -> Iterator[Match]:
    """Yield the matches above a similarity from one file of `matches/`.

    Their videos have no `uri`: nothing is to be opened but the older run's clips.
    """
    columns = ["seed_id", "similarity", "video_id", "video", "time_us"]
    with storage.localize(uri) as path, pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=columns):
            for row in batch.to_pylist():
                if row["similarity"] > min_similarity:
                    video = Video(row["video_id"], row["video"], "")
                    yield Match(
                        row["seed_id"], row["similarity"], video, row["time_us"]
                    )


def read_letters(uri: str) -> list[DeadLetter]:
    """The dead letters of one file of `rejected/`."""
    with storage.localize(uri) as path, open(path, encoding="utf-8") as file:
        return [DeadLetter(**json.loads(line)) for line in file]


_letters_of = functools.lru_cache(maxsize=8)(read_letters)


class BasePart(NamedTuple):
    """What flows in from an older run.

    Attributes:
        matches: `Match`es of its videos.
        letters: dead letters of its corpus; counted in `tallies` already.
        tallies: `(name, sum)` pairs, to be added to those of the same names.
    """

    matches: beam.PCollection
    letters: beam.PCollection
    tallies: beam.PCollection


def beside(
    new: beam.PCollection, older: BasePart | None, name: str
) -> beam.PCollection:
    """Elements of this run, and those of that field of an older one if there is one."""
    if older is None:
        return new
    return (new, getattr(older, name)) | f"Older_{name}" >> beam.Flatten()


@dataclass(eq=False)
class ReadBaseRun(beam.PTransform):
    """Seeds to an `BasePart`; fails before anything is decoded if they differ.

    Attributes:
        run: what is read.
        min_similarity: similarities above this are matches.
    """

    run: BaseRun
    min_similarity: float

    def expand(self, seeds: beam.PCollection) -> Any:
        """Reads its files on all workers."""
        pipeline = seeds.pipeline
        ours = seeds | "Fingerprint" >> Tally(SEEDS_FINGERPRINT, seeds_fingerprint)
        matches = (
            pipeline
            | "Tables" >> beam.Create(self.run.files_of("matches"))
            | "Matches"
            >> beam.FlatMap(
                _checked_matches,
                self.run.seeds_fingerprint,
                self.min_similarity,
                beam.pvalue.AsIter(ours),
            ).with_output_types(Match)
        )
        letters = (
            pipeline
            | "Letters" >> beam.Create(self.run.files_of("rejected"))
            | "DeadLetter"
            >> beam.FlatMap(_corpus_letters).with_output_types(DeadLetter)
        )
        counts = pipeline | "Counts" >> beam.Create(self.run.corpus_counts())
        tallies = (counts, matches | "Count" >> Tally("matches")) | beam.Flatten()
        return BasePart(matches, letters, tallies)


def _checked_matches(
    uri: str, fingerprint: int, min_similarity: float, ours: Iterable[tuple[str, int]]
) -> Iterator[Match]:
    if sum(share for _, share in ours) != fingerprint:
        raise ValueError(SEEDS_DIFFER)
    yield from read_matches(uri, min_similarity)


def _corpus_letters(uri: str) -> Iterator[DeadLetter]:
    return (letter for letter in read_letters(uri) if letter.stage in _CORPUS_STAGES)


# One of the two; Beam's CoGroupByKey would tag them, and pickle what it tagged.
_Side = tuple[str, Video | None]


@dataclass(eq=False)
class DropBaseVideos(beam.PTransform):
    """`Video`s to those without matches in an older run, and `DeadLetter` for the rest.

    The older run wins, as the earlier of two videos of an id does in one run: were its
    matches left out instead, others of it could move up that it has no clips of.

    Attributes:
        matches: the older run's.
    """

    matches: beam.PCollection

    def expand(self, videos: beam.PCollection) -> Any:
        """Joins by id."""
        new = videos | "New" >> beam.Map(lambda v: (v.video_id, v)).with_output_types(
            _Side
        )
        old = (
            self.matches
            | "Ids" >> beam.Map(lambda m: m.video.video_id).with_output_types(str)
            | beam.Distinct()
            | "Old" >> beam.Map(lambda key: (key, None)).with_output_types(_Side)
        )
        split = (
            (new, old)
            | "Both" >> beam.Flatten()
            | "ById" >> beam.GroupByKey()
            | "Drop"
            >> beam.FlatMapTuple(_only_new)
            .with_output_types(Video)
            .with_outputs("rejected", main="videos")
        )
        return split.videos, split.rejected


def _only_new(video_id: str, group: Iterable[Video | None]) -> Iterator[Any]:
    found = list(group)
    videos = [video for video in found if video is not None]
    if len(videos) == len(found):
        yield from videos
        return
    message = f"the id {video_id} is taken by an earlier video"
    for video in videos:
        letter = DeadLetter("list_videos", video.reference, "duplicate_video", message)
        yield beam.pvalue.TaggedOutput("rejected", letter)
