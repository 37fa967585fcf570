"""Merging with a base run: what it contributes to a run over new videos.

The matches of the base run compete with the new ones for the top of each seed, its dead
letters and sums are taken over, and its clips are copied: adding videos only displaces,
so whatever is selected now of a base video was selected then. For in `select_matches` a
match of a video is ruled out by better matches of the same video, or because the top is
full already; neither can be undone by matches of other videos.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam

from clipseed.elements import Match, Seed, Video
from clipseed.errors import DeadLetter
from clipseed.run import tables
from clipseed.run.accounting import SEEDS_FINGERPRINT, Counter
from clipseed.run.files import MATCHES, REJECTED, VIDEOS
from clipseed.run.outcomes import VideoOutcome
from clipseed.run.reader import Run
from transforms.tally import Tally
from transforms.videos.manifest import duplicate

SEEDS_DIFFER = "the seeds differ from those of the base run"
# Stages that the base run has done for good; later ones are done again for all videos.
_CORPUS_STAGES = (
    "list_videos",
    "filter_videos",
    "probe",
    "extract_frames",
    "embed_frames",
)


def corpus_sums(run: Run) -> list[tuple[Counter, int]]:
    """Return the sums of the stages that are not done again."""
    return list(run.mining.counts.of_stages(_CORPUS_STAGES).sums.items())


def dead_letter_of(run: Run, stage: str, key: str) -> DeadLetter | None:
    """Return the dead letter that a run has for a key, if any."""
    found = _read_dead_letters(run.uri_for(REJECTED, key))
    same = (each for each in found if (each.stage, each.key) == (stage, key))
    return next(same, None)


@functools.lru_cache(maxsize=8)
def _read_dead_letters(uri: str) -> list[DeadLetter]:
    return list(tables.read_dead_letters(uri))


def seeds_fingerprint(seed: Seed) -> int:
    """Return the share of a seed in the fingerprint of all; shares are added up.

    36 bits, so that the sum over 100 million seeds fits into 64.
    """
    digest = hashlib.sha256(json.dumps(seed).encode()).digest()
    return int.from_bytes(digest[:8]) >> 28


def read_matches(uri: str, min_similarity: float) -> Iterator[Match]:
    """Yield the matches above a similarity of one file of `matches/`.

    Their videos have no `uri`: nothing is opened but the clips of the base run.
    """
    for row in tables.read_matches(uri):
        if row.similarity > min_similarity:
            video = Video(row.video_id, row.video, "")
            yield Match(row.seed_id, row.similarity, video, row.time_us)


class BaseRun(NamedTuple):
    """What flows in from the base run.

    Attributes:
        matches: `Match`es of its videos.
        rejected: dead letters of its corpus; counted in `tallies` already.
        videos: `VideoOutcome`s; also counted in `tallies`.
        tallies: `(Counter, sum)` pairs, to be added to those of the same counters.
    """

    matches: beam.PCollection
    rejected: beam.PCollection
    videos: beam.PCollection
    tallies: beam.PCollection


@dataclass(eq=False)
class ReadBaseRun(beam.PTransform):
    """Seeds to a `BaseRun`; fails before anything is decoded if the seeds differ.

    Attributes:
        run: that is read.
        min_similarity: similarities above this are matches.
    """

    run: Run
    min_similarity: float

    def expand(self, seeds: beam.PCollection) -> Any:
        """Read its files on all workers."""
        pipeline = seeds.pipeline
        ours = seeds | "Fingerprint" >> Tally(SEEDS_FINGERPRINT, seeds_fingerprint)
        matches = (
            pipeline
            | "Tables" >> beam.Create(self.run.uris(MATCHES))
            | "Matches"
            >> beam.FlatMap(
                _checked_matches,
                self.run.mining.seeds_fingerprint,
                self.min_similarity,
                beam.pvalue.AsIter(ours),
            ).with_output_types(Match)
        )
        rejected = (
            pipeline
            | "DeadLetterFiles" >> beam.Create(self.run.uris(REJECTED))
            | "DeadLetter"
            >> beam.FlatMap(_corpus_dead_letters).with_output_types(DeadLetter)
        )
        videos = (
            pipeline
            | "VideoFiles" >> beam.Create(self.run.uris(VIDEOS))
            | "Videos"
            >> beam.FlatMap(tables.read_videos).with_output_types(VideoOutcome)
        )
        sums = pipeline | "Sums" >> beam.Create(corpus_sums(self.run))
        return BaseRun(matches, rejected, videos, sums)


def _checked_matches(
    uri: str,
    fingerprint: int,
    min_similarity: float,
    ours: Iterable[tuple[Counter, int]],
) -> Iterator[Match]:
    if sum(share for _, share in ours) != fingerprint:
        raise ValueError(SEEDS_DIFFER)
    yield from read_matches(uri, min_similarity)


def _corpus_dead_letters(uri: str) -> Iterator[DeadLetter]:
    found = tables.read_dead_letters(uri)
    return (each for each in found if each.stage in _CORPUS_STAGES)


# One of the two; Beam's CoGroupByKey would tag them, and pickle what it tagged.
_Side = tuple[str, Video | None]


class NewVideos(NamedTuple):
    """What comes out of `DropBaseVideos`."""

    videos: beam.PCollection
    rejected: beam.PCollection


@dataclass(eq=False)
class DropBaseVideos(beam.PTransform):
    """`Video`s to `NewVideos`: those without matches in the base run, and the rest.

    The base run wins, as the earlier of two videos of an id does in one run: were its
    matches left out instead, others of it could move up that it has no clips of.

    Attributes:
        matches: of the base run.
    """

    matches: beam.PCollection

    def expand(self, videos: beam.PCollection) -> Any:
        """Join by id."""
        new = videos | "New" >> beam.Map(lambda v: (v.video_id, v)).with_output_types(
            _Side
        )
        known = (
            self.matches
            | "Ids" >> beam.Map(lambda m: m.video.video_id).with_output_types(str)
            | beam.Distinct()
            | "Known" >> beam.Map(lambda key: (key, None)).with_output_types(_Side)
        )
        split = (
            (new, known)
            | "Both" >> beam.Flatten()
            | "ById" >> beam.GroupByKey()
            | "Drop"
            >> beam.FlatMapTuple(_only_new)
            .with_output_types(Video)
            .with_outputs("rejected", main="videos")
        )
        return NewVideos(split.videos, split.rejected)


def _only_new(_: str, group: Iterable[Video | None]) -> Iterator[Any]:
    found = list(group)
    videos = [video for video in found if video is not None]
    if len(videos) == len(found):
        yield from videos
        return
    for video in videos:
        yield beam.pvalue.TaggedOutput("rejected", duplicate(video))
