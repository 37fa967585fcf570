"""Seeds out of webdataset shards, whole and broken, as `read_seeds` yields them."""

import io
import json
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from clipseed.elements import SeedRow
from clipseed.errors import DeadLetter
from tests.support.paths import DATA
from transforms.seeds.formats import read_seeds

needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")


def seeds_and_rejected(uri: str) -> tuple[list[SeedRow], list[DeadLetter]]:
    items = list(read_seeds(uri))
    return (
        [item for item in items if isinstance(item, SeedRow)],
        [item for item in items if isinstance(item, DeadLetter)],
    )


def shard(path: Path, members: list[tuple[str, bytes]]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def facts(key: str, status: str = "success", **more: object) -> bytes:
    url = f"https://x.org/{key}"
    return json.dumps({"url": url, "key": key, "status": status, **more}).encode()


def sample(key: str, image: bytes, caption: bytes) -> list[tuple[str, bytes]]:
    return [
        (f"{key}.jpg", image),
        (f"{key}.json", facts(key)),
        (f"{key}.txt", caption),
    ]


def test_a_shard_tells_where_its_images_lie(tmp_path: Path) -> None:
    images = [bytes([i]) * (700 + i) for i in range(3)]
    members = sample("000000001", images[0], b'one\n\ttwo \xe2\x9c\x93 "x"')
    members += [("000000002.png", images[1]), ("000000002.txt", b"second")]
    members += [("000000003.webp", images[2])]
    members += [("000000003.json", facts("000000003", caption="third"))]
    uri = shard(tmp_path / "00000.tar", members)
    seeds, rejected = seeds_and_rejected(uri)
    assert rejected == []
    assert [(seed.reference, seed.caption) for seed in seeds] == [
        ("https://x.org/000000001", 'one\n\ttwo ✓ "x"'),
        ("00000.tar/000000002.png", "second"),
        ("https://x.org/000000003", "third"),
    ]
    blob = Path(uri).read_bytes()
    for seed, image in zip(seeds, images, strict=True):
        start, end = seed.offset_bytes, seed.offset_bytes + seed.size_bytes
        assert seed.uri == uri and blob[start:end] == image


def test_bad_samples_fail_alone(tmp_path: Path) -> None:
    failed = facts("b", "failed_to_download", error_message="404")
    huge = b"x" * ((1 << 20) + 1)
    members = [
        *sample("a", b"A", b"first"),
        ("b.json", failed),
        ("c.jpg", b"C"),
        *sample("d", b"D", b"\xff\xfe"),
        *sample("e", b"E", b" \n"),
        ("f.txt", b"no image"),
        ("g.jpg", b"G"),
        ("g.json", b"{"),
        ("h.jpg", b"H"),
        ("h.json", facts("h", caption="\ud800")),
        ("i.jpg", b"I"),
        ("i.json", facts("i", "Anything at all!")),
        ("j.jpg", b"J"),
        ("j.txt", huge),
        *sample("z", b"Z", b"last"),
    ]
    seeds, rejected = seeds_and_rejected(shard(tmp_path / "s.tar", members))
    assert [seed.caption for seed in seeds] == ["first", "last"]
    assert [(item.key, item.reason) for item in rejected] == [
        ("s.tar/b", "failed_to_download"),
        ("s.tar/c", "missing_caption"),
        ("s.tar/d", "not_utf8"),
        ("https://x.org/e", "empty_caption"),
        ("s.tar/f", "missing_image"),
        ("s.tar/g", "bad_json"),
        ("s.tar/h", "not_utf8"),
        ("s.tar/i", "bad_status"),
        ("s.tar/j", "text_too_long"),
    ]
    assert "404" in rejected[0].message


def test_member_names_that_are_not_utf8_can_be_written_down(tmp_path: Path) -> None:
    uri = shard(tmp_path / "s.tar", [("k\udcff.jpg", b"K"), ("k\udcff.txt", b"hi")])
    (seed,), _ = seeds_and_rejected(uri)
    assert seed.reference == "s.tar/k\\xff.jpg"


def test_memory_does_not_grow_with_the_members_of_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    headers = (tarfile.TarInfo(f"one.{i}").tobuf() for i in range(10_000))
    path.write_bytes(b"".join(headers) + bytes(1024))
    tracemalloc.start()
    try:
        seeds, rejected = seeds_and_rejected(str(path))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not seeds and [r.reason for r in rejected] == ["missing_image"]
    assert peak_bytes < 2e6


def test_links_in_a_shard_are_not_followed(tmp_path: Path) -> None:
    uri = str(tmp_path / "s.tar")
    with tarfile.open(uri, "w") as tar:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert seeds_and_rejected(uri) == ([], [])


def ten_samples(path: Path) -> bytes:
    members = [m for i in range(10) for m in sample(f"{i:09d}", b"J" * 2000, b"hello")]
    return Path(shard(path, members)).read_bytes()


def test_a_shard_cut_anywhere_gives_what_came_before(tmp_path: Path) -> None:
    whole = ten_samples(tmp_path / "whole.tar")
    ends = [
        s.offset_bytes
        for s in read_seeds(str(tmp_path / "whole.tar"))
        if isinstance(s, SeedRow)
    ]
    end_mark = whole.rstrip(b"\0").rfind(b"hello") + 512
    for cut in range(0, end_mark, 256):
        path = tmp_path / "cut.tar"
        path.write_bytes(whole[:cut])
        seeds, rejected = seeds_and_rejected(str(path))
        complete = [start for start in ends if start + 2048 + 4 * 512 <= cut]
        assert len(seeds) >= len(complete)
        assert all(s.offset_bytes + s.size_bytes <= cut for s in seeds)
        assert (rejected[-1].key, rejected[-1].reason) == (str(path), "truncated_shard")


def test_a_shard_with_a_corrupt_header_gives_what_came_before(tmp_path: Path) -> None:
    whole = bytearray(ten_samples(tmp_path / "whole.tar"))
    header = whole.index(b"000000004.jpg")
    whole[header : header + 512] = b"\xa5" * 512
    (tmp_path / "t.tar").write_bytes(whole)
    seeds, rejected = seeds_and_rejected(str(tmp_path / "t.tar"))
    assert len(seeds) == 4
    assert [item.reason for item in rejected] == ["truncated_shard"]


@pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100])
def test_a_file_that_is_no_shard_is_recorded(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "t.tar"
    path.write_bytes(data)
    seeds, (rejected,) = seeds_and_rejected(str(path))
    assert seeds == []
    assert (rejected.key, rejected.reason) == (str(path), "truncated_shard")


@needs_data
@pytest.mark.parametrize("name", ["s_pax.tar", "s_tarflip12.tar"])
def test_a_shard_with_damaged_fields_is_recorded(name: str) -> None:
    uri = str(DATA / "hostile" / name)
    _, rejected = seeds_and_rejected(uri)
    assert (rejected[-1].key, rejected[-1].reason) == (uri, "truncated_shard")


def with_header(path: Path, info: tarfile.TarInfo, form: int) -> str:
    """Write a good sample, then a bare header, then good samples again."""
    before, after = (
        Path(shard(path, sample(key, b"J" * 99, b"c"))).read_bytes() for key in "ab"
    )
    header = info.tobuf(form, "utf-8", "surrogateescape")
    path.write_bytes(before.rstrip(b"\0").ljust(5 * 512, b"\0") + header + after)
    return str(path)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, b"x"])
@pytest.mark.parametrize("size", [-512, -5000, 1 << 40, 1 << 70])
def test_a_size_that_cannot_be_ends_the_shard_only(
    tmp_path: Path, kind: bytes, size: int
) -> None:
    info = tarfile.TarInfo("bad.jpg")
    info.type, info.size = kind, size
    uri = with_header(tmp_path / "s.tar", info, tarfile.GNU_FORMAT)
    seeds, rejected = seeds_and_rejected(uri)
    assert [seed.caption for seed in seeds] == ["c"]
    assert [item.reason for item in rejected] == ["truncated_shard"]


def test_any_changed_bytes_leave_seeds_or_dead_letters(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    whole = np.frombuffer(ten_samples(tmp_path / "whole.tar"), np.uint8)
    for _ in range(300):
        bad = whole.copy()
        for block in random.integers(len(bad) // 512, size=3):
            places = block * 512 + random.integers(512, size=4)
            bad[places] = random.integers(256, size=4)
            header = bad[block * 512 : block * 512 + 512]
            if header[257:262].tobytes() == b"ustar":  # or tarfile would stop there
                header[148:156] = 32
                checksum = f"{int(header.sum(dtype=np.int64)):06o}\0 ".encode()
                header[148:156] = np.frombuffer(checksum, np.uint8)
        (tmp_path / "t.tar").write_bytes(bad.tobytes())
        seeds, rejected = seeds_and_rejected(str(tmp_path / "t.tar"))
        assert seeds or rejected
