"""The tables of a run: their rows, their order, their bytes."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.testing.test_pipeline import TestPipeline

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import Match, Video
from clipseed.errors import DeadLetter
from transforms.matches.pairs import Pair
from transforms.run.tables import (
    RunTables,
    Selection,
    _write_pairs,
    _write_rejected,
    match_rows,
    write_pairs_csv,
)

A, B = (Video(name, f"{name}.mp4", f"/{name}.mp4") for name in "ab")
SELECTION = Selection(threshold=0.6, top_k=2, min_gap_us=10)
PAIR = Pair("a.mp4", 0, 10, "c", "clip", "a", "seed", "a.png", 1, 0.75, 5, "ok")
TRICKY = 'she said "hi",\tthen\r\nleft — ünïcödé'


def test_matches_go_by_seed_best_first_with_ranks_where_selected() -> None:
    matches = [
        Match("t", 0.9, A, 0),
        Match("s", 0.5, A, 90),  # below the threshold
        Match("s", 0.75, B, 40),  # third
        Match("s", 0.8, A, 59),  # too near to the best
        Match("s", 0.9, A, 50),
        Match("s", 0.8, B, 0),
        Match("s", 0.9, A, 50),  # twice, as from a bundle that was tried again
        Match("s", 0.6, B, 90),  # the threshold itself is not above it
    ]
    assert list(match_rows(matches, SELECTION, "e")) == [
        ("s", "a.mp4", "a", 50, 0.9, 1, "e"),
        ("s", "a.mp4", "a", 59, 0.8, None, "e"),
        ("s", "b.mp4", "b", 0, 0.8, 2, "e"),
        ("s", "b.mp4", "b", 40, 0.75, None, "e"),
        ("s", "b.mp4", "b", 90, 0.6, None, "e"),
        ("s", "a.mp4", "a", 90, 0.5, None, "e"),
        ("t", "a.mp4", "a", 0, 0.9, 1, "e"),
    ]
    reverse = match_rows(matches[::-1], SELECTION, "e")
    assert list(reverse) == list(match_rows(matches, SELECTION, "e"))


def test_the_gap_and_top_k_decide_the_ranks() -> None:
    matches = [Match("s", 0.9 - i / 100, A, i) for i in range(4)]
    literal = replace(SELECTION, top_k=3, min_gap_us=0)
    ranks = [row[5] for row in match_rows(matches, literal, "e")]
    assert ranks == [1, 2, 3, None]


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
    assert _write_pairs(path, pairs, "hash") == 6
    rows = [Pair(*row.values()) for row in pq.read_table(path).to_pylist()]
    assert rows == [pairs[2], pairs[3], pairs[5], pairs[4], pairs[1], pairs[0]]
    metadata = pq.read_schema(path).metadata
    assert metadata[b"config_hash"] == b"hash"


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    path = str(tmp_path / "pairs.parquet")
    assert _write_pairs(path, [], "hash") == 0
    table = pq.read_table(path)
    assert table.num_rows == 0 and table.column_names == list(Pair._fields)


def test_dead_letters_are_lines_of_json_sorted_and_once(tmp_path: Path) -> None:
    letters = [
        DeadLetter("read_seeds", "k", "empty_caption", "the caption is empty"),
        DeadLetter("probe", "ü\n.mp4", "not_a_video", TRICKY),
        DeadLetter("probe", "ü\n.mp4", "not_a_video", TRICKY),
    ]
    path = tmp_path / "rejected.jsonl"
    assert _write_rejected(str(path), letters) == 2
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [DeadLetter(**json.loads(line)) for line in lines[:-1]] == [
        letters[1],
        letters[0],
    ]
    assert lines[-1] == "" and "ünïcödé" in lines[0]


def test_pairs_csv_is_four_columns_with_quoted_texts(tmp_path: Path) -> None:
    shards = [str(tmp_path / f"{n}.parquet") for n in range(3)]
    tricky = PAIR._replace(video="dir/é, b.mp4", caption=TRICKY, start_us=2**40)
    for shard, pairs in zip(shards, ([PAIR], [], [tricky]), strict=True):
        _write_pairs(shard, pairs, "hash")
    path = tmp_path / "pairs.csv"
    assert write_pairs_csv(str(path), shards) == 2
    assert path.read_bytes().startswith(b'"a.mp4",0,10,"c"\n"dir/')
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["a.mp4", "0", "10", "c"],
        ["dir/é, b.mp4", str(2**40), "10", TRICKY],
    ]


def test_no_pairs_are_an_empty_file(tmp_path: Path) -> None:
    assert write_pairs_csv(str(tmp_path / "pairs.csv"), []) == 0
    assert (tmp_path / "pairs.csv").read_bytes() == b""


def test_in_a_pipeline_each_table_has_its_shards(tmp_path: Path) -> None:
    tables = RunTables(str(tmp_path), 2, "hash")
    letter = DeadLetter("probe", "a.mp4", "not_a_video", "m")
    matches = [Match(f"s{i}", 0.9, A, 0) for i in range(9)]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | "M" >> beam.Create([(m.seed_id, m) for m in matches])
            | "Matches" >> tables.matches(SELECTION, "e")
        )
        _ = pipeline | "P" >> beam.Create([("a", PAIR)]) | "Pairs" >> tables.pairs()
        rejected = tables.rejected()
        _ = pipeline | "R" >> beam.Create([("k", letter)]) | "DeadLetter" >> rejected
    for folder, suffix in (("matches", "parquet"), ("pairs", "parquet"),
                           ("rejected", "jsonl")):  # fmt: skip
        names = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert names == [f"{folder}-0000{n}-of-00002.{suffix}" for n in range(2)]
    found = pq.read_table(tmp_path / "matches").to_pylist()
    assert sorted(row["seed_id"] for row in found) == [m.seed_id for m in matches]
    assert {row["rank"] for row in found} == {1}
