"""The tables of a run: their rows, their order, their bytes."""

import csv
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.testing.test_pipeline import TestPipeline

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import Match, Pair, Video
from clipseed.errors import DeadLetter
from clipseed.run.tables import (
    CsvPair,
    read_dead_letters,
    read_pairs,
    read_pairs_csv,
    write_pairs_csv,
)
from transforms.matches.select import Selection
from transforms.run.tables import RunTables, write_pairs, write_rejected

A = Video("a", "a.mp4", "/a.mp4")
SELECTION = Selection(threshold=0.6, top_k=2, min_gap_us=10)
PAIR = Pair("a.mp4", 0, 10, "c", "clip", "a", "seed", "a.png", 1, 0.75, 5, "ok")
TRICKY = 'she said "hi",\tthen\r\nleft — ünïcödé'


def test_pairs_are_ordered_by_video_and_time_then_similarity(tmp_path: Path) -> None:
    pairs = [
        PAIR._replace(video="b.mp4", start_us=0),
        PAIR._replace(start_us=100, end_us=110),
        PAIR._replace(similarity=0.875, caption="z"),
        PAIR._replace(caption="b"),
        PAIR._replace(start_us=20, end_us=30),
        PAIR,
    ]
    path = str(tmp_path / "pairs.parquet")
    assert write_pairs(path, pairs, "hash") == 6
    assert list(read_pairs(path)) == [
        pairs[2],
        pairs[3],
        pairs[5],
        pairs[4],
        pairs[1],
        pairs[0],
    ]
    metadata = pq.read_schema(path).metadata
    assert metadata[b"config_hash"] == b"hash"


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    path = str(tmp_path / "pairs.parquet")
    assert write_pairs(path, [], "hash") == 0
    table = pq.read_table(path)
    assert table.num_rows == 0 and table.column_names == list(Pair._fields)
    assert pq.read_metadata(path).num_row_groups == 0  # What `datasets` can read.


def test_dead_letters_are_lines_of_json_sorted_and_once(tmp_path: Path) -> None:
    records = [
        DeadLetter("read_seeds", "k", "empty_caption", "the caption is empty"),
        DeadLetter("probe", "ü\n.mp4", "not_a_video", TRICKY),
        DeadLetter("probe", "ü\n.mp4", "not_a_video", TRICKY),
    ]
    path = tmp_path / "rejected.jsonl"
    assert write_rejected(str(path), records) == 2
    assert list(read_dead_letters(str(path))) == [records[1], records[0]]
    lines = path.read_text(encoding="utf-8").split("\n")
    assert len(lines) == 3 and lines[-1] == "" and "ünïcödé" in lines[0]


def test_pairs_csv_is_four_columns_with_quoted_texts(tmp_path: Path) -> None:
    pairs = [
        CsvPair("a.mp4", 0, 10, "c"),
        CsvPair("dir/é, b.mp4", 2**40, 2**40 + 10, TRICKY),
    ]
    path = tmp_path / "pairs.csv"
    assert write_pairs_csv(str(path), pairs) == 2
    assert path.read_bytes().startswith(b'"a.mp4",0,10,"c"\n"dir/')
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["a.mp4", "0", "10", "c"],
        ["dir/é, b.mp4", str(2**40), str(2**40 + 10), TRICKY],
    ]
    assert list(read_pairs_csv(str(path))) == pairs


def test_no_pairs_are_an_empty_file(tmp_path: Path) -> None:
    assert write_pairs_csv(str(tmp_path / "pairs.csv"), []) == 0
    assert (tmp_path / "pairs.csv").read_bytes() == b""


def test_in_a_pipeline_each_table_has_its_shards(tmp_path: Path) -> None:
    tables = RunTables(str(tmp_path), 2, "hash")
    record = DeadLetter("probe", "a.mp4", "not_a_video", "m")
    matches = [Match(f"s{i}", 0.9, A, 0) for i in range(9)]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | "M" >> beam.Create([(m.seed_id, m) for m in matches])
            | "Matches" >> tables.matches(SELECTION, "e")
        )
        _ = pipeline | "P" >> beam.Create([("a", PAIR)]) | "Pairs" >> tables.pairs()
        rejected = tables.rejected()
        _ = pipeline | "R" >> beam.Create([("k", record)]) | "DeadLetter" >> rejected
    for folder, suffix in (("matches", "parquet"), ("pairs", "parquet"),
                           ("rejected", "jsonl")):  # fmt: skip
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert names == [f"{folder}-0000{n}-of-00002.{suffix}" for n in range(2)]
    found = pq.read_table(tmp_path / "matches").to_pylist()
    assert sorted(row["seed_id"] for row in found) == [m.seed_id for m in matches]
    assert {row["rank"] for row in found} == {1}
