"""Elements to the tables of a run: matches, pairs, dead letters, outcomes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam

from clipseed.elements import Match, Pair
from clipseed.errors import DeadLetter
from clipseed.run import tables
from clipseed.run.files import MATCHES, PAIRS, REJECTED, SEEDS, VIDEOS
from clipseed.run.outcomes import SeedOutcome, VideoOutcome
from clipseed.run.writer import RunWriter
from transforms.matches.select import Selection, rank_matches
from transforms.run.shards import WriteShards


@dataclass(frozen=True)
class RunTables:
    """The transforms that write the tables of one run.

    Attributes:
        run_dir: the run directory.
        num_shards: files per table.
        config_hash: of the settings that decide the result; stored in the metadata of
            the Parquet files.
    """

    run_dir: str
    num_shards: int
    config_hash: str

    def matches(self, selection: Selection, embedder: str) -> beam.PTransform:
        """`(seed_id, Match)` to `matches/`."""
        write = partial(
            write_matches,
            selection=selection,
            embedder=embedder,
            config_hash=self.config_hash,
        )
        return self._write(MATCHES, Match, write)

    def pairs(self) -> beam.PTransform:
        """`(video_id, Pair)` to `pairs/`."""
        write = partial(write_pairs, config_hash=self.config_hash)
        return self._write(PAIRS, Pair, write)

    def rejected(self) -> beam.PTransform:
        """`(key, DeadLetter)` to `rejected/`."""
        return self._write(REJECTED, DeadLetter, write_rejected)

    def videos(self) -> beam.PTransform:
        """`(video_id, VideoOutcome)` to `videos/`."""
        write = partial(write_outcomes, tables.write_videos, self.config_hash)
        return self._write(VIDEOS, VideoOutcome, write)

    def seeds(self) -> beam.PTransform:
        """`(image, SeedOutcome)` to `seeds/`."""
        write = partial(write_outcomes, tables.write_seeds, self.config_hash)
        return self._write(SEEDS, SeedOutcome, write)

    def _write(self, folder: str, element: Any, write: Any) -> WriteShards:
        writer = RunWriter(self.run_dir)
        return WriteShards(writer, folder, self.num_shards, element, write)


def write_matches(
    path: str,
    matches: Iterable[Match],
    selection: Selection,
    embedder: str,
    config_hash: str,
) -> int:
    """Write matches by seed, the most similar first, ranked if they are selected."""
    rows = list(rank_matches(matches, selection, embedder))
    return tables.write_matches(path, rows, config_hash)


def write_pairs(path: str, pairs: Iterable[Pair], config_hash: str) -> int:
    """Write pairs by video and time, the most similar first."""
    rows = sorted(pairs, key=lambda p: (*p[:3], -p.similarity, p.caption))
    return tables.write_pairs(path, rows, config_hash)


def write_outcomes(
    write: Callable[[str, Sequence[Any], str], int],
    config_hash: str,
    path: str,
    outcomes: Iterable[tuple],
) -> int:
    """Write what came of inputs, by id, with the writer of their table."""
    return write(path, sorted(outcomes), config_hash)


def write_rejected(path: str, rejected: Iterable[DeadLetter]) -> int:
    """Write dead letters in order, each once."""
    return tables.write_dead_letters(path, sorted(set(rejected)))
