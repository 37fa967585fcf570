"""Damaged tables and tar shards: rows and dead letters, or one reason for the file."""

import random
import resource
from pathlib import Path

import pytest

from benchmarks.fuzz.mutations import mutate, mutate_text
from benchmarks.fuzz.sources import Source, make_images
from benchmarks.fuzz.tables import make_shard, make_tables
from clipseed.elements import SeedRow
from clipseed.errors import DeadLetter, InputError
from transforms.seeds.formats import read_seeds
from transforms.videos.manifest import VideoEntry, list_videos


@pytest.fixture(scope="module")
def tables() -> list[Source]:
    return [*make_tables("t"), make_shard("s", make_images())]


def test_undamaged_tables_have_all_their_rows(
    tables: list[Source], tmp_path: Path
) -> None:
    for name, data in tables:
        (tmp_path / name).write_bytes(data)
        rows = list(read_seeds(str(tmp_path / name)))
        assert all(isinstance(row, SeedRow) for row in rows), name
        assert len(rows) == (3 if name == "s.tar" else 12)


@pytest.mark.parametrize("start", range(0, 600, 150))
def test_damaged_tables_end_as_foreseen(
    tables: list[Source], tmp_path: Path, start: int
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(start, start + 150):
        rng = random.Random(f"table/{number}")
        source = rng.choice(tables)
        is_text = rng.random() < 0.5
        mutant = mutate_text(source, rng) if is_text else mutate(source, tables, rng)
        path = tmp_path / f"{number}_{source.name}"
        path.write_bytes(mutant.data)
        for read, rows in ((read_seeds, SeedRow), (list_videos, VideoEntry)):
            try:
                found = list(read(str(path)))  # type: ignore[operator]
            except InputError as error:
                assert error.reason.isidentifier() and "\n" not in error.message
                continue
            assert all(isinstance(row, rows | DeadLetter) for row in found), number
            assert len(found) < 7000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # KiB
