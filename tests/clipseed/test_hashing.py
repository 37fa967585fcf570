"""Ids, checksums and shard numbers are the same on every machine."""

import hashlib
from pathlib import Path

from clipseed.hashing import checksum, content_id, shard_of


def test_an_id_is_the_start_of_a_sha_256() -> None:
    assert content_id(b"abc") == "ba7816bf8f01cfea"  # FIPS 180-2
    assert content_id("schlüssel") == content_id("schlüssel".encode())
    assert content_id(iter([b"sch", "lüs", b"sel"])) == content_id("schlüssel")


def test_a_checksum_is_of_the_whole_file(tmp_path: Path) -> None:
    data = b"x" * 3_000_000
    (tmp_path / "file").write_bytes(data)
    assert checksum(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_shards_are_by_hash_of_the_key() -> None:
    digest = hashlib.sha256("schlüssel".encode()).digest()
    assert shard_of("schlüssel", 1000) == int.from_bytes(digest[:8], "big") % 1000
    assert [shard_of(key, 8) for key in ("", "a", "b", "ü")] == [4, 2, 2, 4]


def test_shards_are_of_about_one_size() -> None:
    counts = [0] * 8
    for i in range(8000):
        counts[shard_of(f"key{i}", 8)] += 1
    assert min(counts) > 900 and max(counts) < 1100
