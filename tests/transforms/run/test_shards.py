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
from transforms.run.shards import (
    GroupIntoShards,
    WriteShards,
    WrittenFile,
    describe_file,
    shard_name,
    shard_of,
)

SEEDS = [Seed(f"seed{i}", "a.png", f"caption {i}") for i in range(40)]
KEYED = [(seed.seed_id, seed) for seed in SEEDS]


def test_a_key_stays_in_its_shard_for_ever() -> None:
    digest = hashlib.sha256("schlüssel".encode()).digest()
    assert shard_of("schlüssel", 1000) == int.from_bytes(digest[:8], "big") % 1000
    assert [shard_of(key, 8) for key in ("", "a", "b", "ü")] == [4, 2, 2, 4]


def test_keys_spread_evenly() -> None:
    counts = [0] * 8
    for i in range(8000):
        counts[shard_of(f"key{i}", 8)] += 1
    assert sum(counts) == 8000 and min(counts) > 900 and max(counts) < 1100


def test_names_sort_by_number() -> None:
    assert shard_name("clips", 7, 10, ".tfrecord") == "clips-00007-of-00010.tfrecord"
    names = [shard_name("p", i, 200, "") for i in range(200)]
    assert names == sorted(names)


def test_a_file_is_described_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    wanted = WrittenFile("clips/x", 2, 3, digest)  # SHA-256 of "abc", FIPS 180-2
    assert describe_file(str(tmp_path / "x"), "clips/x", 2) == wanted


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
    writer = WriteShards(root, "seeds", ".txt", 3, Seed, _write_captions)
    with TestPipeline(runner="FnApiRunner") as pipeline:
        written = pipeline | beam.Create(keyed) | writer
        assert_that(written, equal_to(expected(keyed)))


def expected(keyed: list[tuple[str, Seed]]) -> list[WrittenFile]:
    files = []
    for n in range(3):
        lines = sorted(s.caption for key, s in keyed if shard_of(key, 3) == n)
        data = "\n".join(lines).encode()
        name = f"seeds/seeds-{n:05d}-of-00003.txt"
        digest = hashlib.sha256(data).hexdigest()
        files.append(WrittenFile(name, len(lines), len(data), digest))
    return files


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "seeds").iterdir()}


@pytest.mark.parametrize("count", [0, 40])
def test_each_shard_is_a_file_that_is_told_of(tmp_path: Path, count: int) -> None:
    write(str(tmp_path), KEYED[:count])
    assert sorted(contents(tmp_path)) == [
        f"seeds-{n:05d}-of-00003.txt" for n in range(3)
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
    writer = WriteShards(str(tmp_path), "seeds", ".txt", 3, Seed, _fail)
    with (
        pytest.raises(Exception, match="the disk is full"),
        TestPipeline(runner="FnApiRunner") as pipeline,
    ):
        _ = pipeline | beam.Create(KEYED) | writer
    assert list((tmp_path / "seeds").iterdir()) == []
