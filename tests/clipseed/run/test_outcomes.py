"""Every input is accounted for by its id; what was lost or made up is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clipseed.elements import Pair, RankedMatch
from clipseed.errors import DeadLetter
from clipseed.run import tables
from clipseed.run.manifest import RunManifest
from clipseed.run.outcomes import SeedOutcome, VideoOutcome, unaccounted
from clipseed.run.reader import Run
from clipseed.run.writer import RunWriter
from tests.support.mining_facts import MINING

PAIR = Pair("a.mp4", 0, 10, "c", "clip", "A", "S", "s.png", 1, 0.75, 5, "ok")
GOOD: dict[str, list[Any]] = {
    "videos": [
        VideoOutcome("A", "a.mp4", 1, 2, 2, 9, 0),
        VideoOutcome("B", "b.mp4", 1, 1, 1, 0, 0),
        VideoOutcome("C", "c.mp4", 1, 0, 0, 0, 1),
        VideoOutcome("D", "d.mp4", 1, 1, 1, 4, 1),
    ],
    "seeds": [
        SeedOutcome("S", "s.png", 2, 2, 0, 1),
        SeedOutcome("S", "copy.png", 1, 1, 0, 0),
        SeedOutcome("T", "t.png", 2, 1, 1, 0),
        SeedOutcome("", "u.png", 1, 0, 1, 0),
    ],
    "matches": [RankedMatch("S", "a.mp4", "A", 5, 0.75, 1, "e")],
    "pairs": [PAIR],
    "rejected": [
        DeadLetter("list_videos", "videos.csv:7", "missing_path", "m"),
        DeadLetter("extract_frames", "b.mp4", "no_frames", "m"),
        DeadLetter("probe", "c.mp4", "not_a_video", "m"),
        DeadLetter("extract_frames", "d.mp4", "broken_video", "m"),
        DeadLetter("load_seeds", "t.png", "corrupt_image", "m"),
        DeadLetter("load_seeds", "u.png", "not_found", "m"),
        DeadLetter("embed_seeds", "t.png", "no_embedding", "m"),
    ],
}
WRITERS: dict[str, Callable[[str, list[Any]], int]] = {
    "videos": lambda path, rows: tables.write_videos(path, rows, "h"),
    "seeds": lambda path, rows: tables.write_seeds(path, rows, "h"),
    "matches": lambda path, rows: tables.write_matches(path, rows, "h"),
    "pairs": lambda path, rows: tables.write_pairs(path, rows, "h"),
    "rejected": tables.write_dead_letters,
}


def problems(root: Path, rows: dict[str, list[Any]], **config: Any) -> list[str]:
    writer = RunWriter(str(root))
    files = [
        writer.write_shard(name, 0, 1, lambda path, n=name: WRITERS[n](path, rows[n]))
        for name in rows
    ]
    mining = replace(MINING, config={**MINING.config, **config})
    writer.finish(RunManifest(tuple(files), mining))
    return list(unaccounted(Run.open(root)))


def test_a_whole_run_has_no_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []


def changed(table: str, row: int, **values: Any) -> dict[str, list[Any]]:
    rows = [*GOOD[table]]
    rows[row] = rows[row]._replace(**values)
    return {**GOOD, table: rows}


def without(table: str, row: int) -> dict[str, list[Any]]:
    return {**GOOD, table: [*GOOD[table][:row], *GOOD[table][row + 1 :]]}


@pytest.mark.parametrize(
    ("rows", "word", "count"),
    [
        (changed("videos", 0, listed=2), "video A (a.mp4) was listed 2 times", 1),
        (changed("videos", 0, listed=0), "video A (a.mp4) was listed 0 times", 1),
        (changed("videos", 0, sampled=1), "2 parts, of which 1 were sampled", 1),
        (changed("videos", 0, frames=0), "matches of video A", 2),
        (without("rejected", 1), "video B (b.mp4) has no frame", 1),
        (without("rejected", 2), "video C (c.mp4) has no frame", 1),
        (without("rejected", 3), "video D (d.mp4) is damaged", 1),
        (without("videos", 0), "matches of video A", 1),
        (without("videos", 2), "was not listed: c.mp4", 1),
        (changed("seeds", 0, loaded=1), "2 rows, of which 1 were loaded and 0", 1),
        (changed("seeds", 0, embedded=0), "seed S (copy.png) is not in the index", 2),
        (without("rejected", 4), "seed T (t.png) was dropped", 1),
        (without("rejected", 5), "seed without an id (u.png) was dropped", 1),
        (without("rejected", 6), "seed T (t.png) is not in the index", 1),
        (without("seeds", 3), "that no row names: u.png", 1),
        (changed("pairs", 0, seed_id="X"), "pairs of seed X", 1),
        (changed("matches", 0, video_id="C"), "matches of video C", 1),
    ],
)
def test_whatever_is_lost_or_made_up_is_named(
    tmp_path: Path, rows: dict[str, list[Any]], word: str, count: int
) -> None:
    found = problems(tmp_path, rows)
    assert len(found) == count and any(word in problem for problem in found), found


def test_seeds_of_an_external_index_are_not_embedded(tmp_path: Path) -> None:
    rows = changed("seeds", 0, embedded=0)
    assert problems(tmp_path, rows, index="grpc://server:1") == []
