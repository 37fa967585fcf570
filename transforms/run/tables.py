"""The tables of a run directory: matches, pairs and dead letters."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from clipseed.elements import Match
from clipseed.errors import DeadLetter
from transforms.matches.pairs import Pair
from transforms.matches.select import select_top
from transforms.run.shards import WriteShards

_MATCHES = pa.schema(
    [
        ("seed_id", pa.string()),
        ("video", pa.string()),
        ("video_id", pa.string()),
        ("time_us", pa.int64()),
        ("similarity", pa.float32()),
        ("rank", pa.int32()),
        ("embedder", pa.string()),
    ]
)
_PAIRS = pa.schema(
    [
        ("video", pa.string()),
        ("start_us", pa.int64()),
        ("end_us", pa.int64()),
        ("caption", pa.string()),
        ("clip_id", pa.string()),
        ("video_id", pa.string()),
        ("seed_id", pa.string()),
        ("image", pa.string()),
        ("rank", pa.int32()),
        ("similarity", pa.float32()),
        ("time_us", pa.int64()),
        ("sound", pa.string()),
    ]
)


@dataclass(frozen=True)
class Selection:
    """Which matches become clips: those above the threshold, the best of each seed.

    Attributes:
        threshold: τ of the paper.
        top_k: matches a seed.
        min_gap_us: between matches of a seed in one video.
    """

    threshold: float
    top_k: int
    min_gap_us: int


def match_rows(
    matches: Iterable[Match], selection: Selection, embedder: str
) -> Iterator[tuple]:
    """Rows of `matches/`: by seed, the most similar first, ranked where selected."""
    ordered = sorted(
        set(matches),
        key=lambda m: (m.seed_id, -m.similarity, m.video.video_id, m.time_us),
    )
    for seed_id, group in groupby(ordered, key=lambda match: match.seed_id):
        rows = list(group)
        above = [m for m in rows if m.similarity > selection.threshold]
        best = select_top(above, selection.top_k, selection.min_gap_us)
        ranks = {match: rank for rank, match in enumerate(best, start=1)}
        for match in rows:
            yield (
                seed_id,
                match.video.reference,
                match.video.video_id,
                match.time_us,
                match.similarity,
                ranks.get(match),
                embedder,
            )


def _write_parquet(
    path: str, rows: Sequence[tuple], schema: pa.Schema, config_hash: str
) -> int:
    schema = schema.with_metadata({"config_hash": config_hash})
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)
    return len(rows)


def _write_matches(
    path: str,
    matches: Iterable[Match],
    selection: Selection,
    embedder: str,
    config_hash: str,
) -> int:
    rows = list(match_rows(matches, selection, embedder))
    return _write_parquet(path, rows, _MATCHES, config_hash)


def _write_pairs(path: str, pairs: Iterable[Pair], config_hash: str) -> int:
    rows = sorted(pairs, key=lambda p: (*p[:3], -p.similarity, p.caption))
    return _write_parquet(path, rows, _PAIRS, config_hash)


def _write_rejected(path: str, letters: Iterable[DeadLetter]) -> int:
    rows = sorted(set(letters))
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row._asdict(), ensure_ascii=False) + "\n")
    return len(rows)


def write_pairs_csv(path: str, shards: Iterable[str]) -> int:
    """Writes `pairs.csv` (VideoCC's layout: four columns, no header) from the shards.

    Args:
        path: a local file.
        shards: local Parquet files of `pairs/`, in order.

    Returns:
        the number of rows.
    """
    count = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        for shard in shards:
            for batch in pq.ParquetFile(shard).iter_batches(columns=_PAIRS.names[:4]):
                rows = list(zip(*batch.to_pydict().values(), strict=True))
                writer.writerows(rows)
                count += len(rows)
    return count


@dataclass(frozen=True)
class RunTables:
    """The writers of one run's tables.

    Attributes:
        run_dir: the run directory.
        num_shards: files a table.
        config_hash: of what decided the result; kept in the Parquet files' metadata.
    """

    run_dir: str
    num_shards: int
    config_hash: str

    def matches(self, selection: Selection, embedder: str) -> beam.PTransform:
        """`(seed_id, Match)` to `matches/`."""
        write = partial(
            _write_matches,
            selection=selection,
            embedder=embedder,
            config_hash=self.config_hash,
        )
        return self._write("matches", ".parquet", Match, write)

    def pairs(self) -> beam.PTransform:
        """`(video_id, Pair)` to `pairs/`."""
        write = partial(_write_pairs, config_hash=self.config_hash)
        return self._write("pairs", ".parquet", Pair, write)

    def rejected(self) -> beam.PTransform:
        """`(key, DeadLetter)` to `rejected/`."""
        return self._write("rejected", ".jsonl", DeadLetter, _write_rejected)

    def _write(self, folder: str, suffix: str, element: Any, write: Any) -> WriteShards:
        return WriteShards(
            self.run_dir, folder, suffix, self.num_shards, element, write
        )
