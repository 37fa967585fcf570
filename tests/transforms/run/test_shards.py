"""A fixed number of files, whose bytes do not depend on the order of arrival."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import Seed
from clipseed.hashing import shard_of
from clipseed.run.files import RunFile
from clipseed.run.writer import RunWriter
from transforms.run.shards import GroupIntoShards, WriteShards

SEEDS = [Seed(f"seed{i}", "a.png", f"caption {i}") for i in range(40)]
KEYED = [(seed.seed_id, seed) for seed in SEEDS]


def test_every_element_is_in_the_shard_of_its_key() -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        shards = (
            pipeline
            | beam.Create(KEYED)
            | GroupIntoShards(50, Seed)
            | beam.MapTuple(lambda shard, seeds: (shard, sorted(seeds)))
        )
        wanted = [
            (n, sorted(s for s in SEEDS if shard_of(s.seed_id, 50) == n))
            for n in range(50)
        ]
        assert [] in [seeds for _, seeds in wanted]  # Empty shards come out too.
        assert_that(shards, equal_to(wanted))


def _write_captions(path: str, seeds: Iterable[Seed]) -> int:
    lines = sorted(seed.caption for seed in seeds)
    Path(path).write_text("\n".join(lines), encoding="utf-8")
    return len(lines)


def write(root: str, keyed: list[tuple[str, Seed]]) -> None:
    writer = WriteShards(RunWriter(root), "rejected", 3, Seed, _write_captions)
    with TestPipeline(runner="FnApiRunner") as pipeline:
        written = pipeline | beam.Create(keyed) | writer
        assert_that(written, equal_to(expected(keyed)))


def expected(keyed: list[tuple[str, Seed]]) -> list[RunFile]:
    files = []
    for n in range(3):
        lines = sorted(s.caption for key, s in keyed if shard_of(key, 3) == n)
        data = "\n".join(lines).encode()
        name = f"rejected/rejected-{n:05d}-of-00003.jsonl"
        digest = hashlib.sha256(data).hexdigest()
        files.append(RunFile(name, len(lines), len(data), digest))
    return files


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "rejected").iterdir()}


@pytest.mark.parametrize("count", [0, 40])
def test_each_shard_is_a_file_that_is_told_of(tmp_path: Path, count: int) -> None:
    write(str(tmp_path), KEYED[:count])
    assert sorted(contents(tmp_path)) == [
        f"rejected-{n:05d}-of-00003.jsonl" for n in range(3)
    ]


def test_a_rerun_in_another_order_writes_the_same_and_replaces(tmp_path: Path) -> None:
    write(str(tmp_path / "one"), KEYED)
    write(str(tmp_path / "two"), KEYED[:5])
    write(str(tmp_path / "two"), KEYED[::-1])
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def _fail(path: str, seeds: Iterable[Seed]) -> int:
    Path(path).write_bytes(b"half a shard")
    raise OSError("the disk is full")


def test_a_shard_that_fails_leaves_no_file(tmp_path: Path) -> None:
    writer = WriteShards(RunWriter(str(tmp_path)), "rejected", 3, Seed, _fail)
    with (
        pytest.raises(Exception, match="the disk is full"),
        TestPipeline(runner="FnApiRunner") as pipeline,
    ):
        _ = pipeline | beam.Create(KEYED) | writer
    assert list((tmp_path / "rejected").iterdir()) == []
