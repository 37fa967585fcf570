"""What is kept of a part comes back whole, or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

from clipseed.elements import EmbeddedChunk, Video
from clipseed.errors import DeadLetter
from clipseed.io import storage
from models.pretrained.resizing import squeeze
from transforms.frames.embedding_cache import (
    EmbeddingCache,
    keep_chunk,
    kept_in,
    read_sealed,
    tidy,
    video_version,
    write_sealed,
)
from transforms.media.sample_frames import Break, SamplingConfig

S = 1_000_000
SAMPLING = SamplingConfig(1.0, "exact", squeeze(224), 2.0, 60.0)
FILM = Video("id", "film.mp4", "/film.mp4")
ENDS = [(0, 2 * S), (2 * S, 2**62)]
BREAKS = [Break(7, "damage — here")]
RNG = np.random.default_rng(0)


def keep_part(kept: EmbeddingCache, name: str, lengths: list[int]) -> list[np.ndarray]:
    """Keep a part of made chunks, as the two steps do."""
    chunks = [RNG.normal(size=(n, 8)).astype(np.float32) for n in lengths]
    for number, embeddings in enumerate(chunks):
        times = tuple(range(number * S, number * S + len(embeddings)))
        uri = kept.uri(kept.chunk_name(name, number))
        keep_chunk((EmbeddedChunk(FILM, times, embeddings, uri), []))
    kept.keep_part(name, lengths, BREAKS)
    return chunks


def part_name(kept: EmbeddingCache, version: str = "1", video: Video = FILM) -> str:
    return kept.name_parts(video, version, ENDS)[0].keep_as


def test_a_part_comes_back_bit_by_bit(root: str) -> None:
    kept = EmbeddingCache(f"{root}/work/frames", "e@1", SAMPLING)
    name = part_name(kept)
    assert kept.read_part(name) is None
    chunks = keep_part(kept, name, [64, 3])
    part = kept.read_part(name)
    assert part is not None and part.breaks == BREAKS
    assert [times for times, _ in part.chunks] == [
        tuple(range(64)), (S, S + 1, S + 2),
    ]  # fmt: skip
    for (_, found), wanted in zip(part.chunks, chunks, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)
    assert kept_in(kept.folder) in ("1 parts of videos", f"embeddings in {kept.folder}")
    assert kept_in(f"{root}/elsewhere") == ""


def test_a_part_without_frames_is_kept_too(tmp_path: Path) -> None:
    kept = EmbeddingCache(str(tmp_path), "e@1", SAMPLING)
    keep_part(kept, "a/b", [])
    assert kept.read_part("a/b") == ([], BREAKS)


@pytest.mark.parametrize("suffix", [".part", "-0000.chunk", "-0001.chunk"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "absent"])
def test_a_part_that_is_not_whole_is_not_used(
    tmp_path: Path, suffix: str, damage: str
) -> None:
    kept = EmbeddingCache(str(tmp_path), "e@1", SAMPLING)
    keep_part(kept, "a/b", [2, 1])
    file = tmp_path / f"a/b{suffix}"
    data = bytearray(file.read_bytes())
    if damage == "absent":
        file.unlink()
    else:
        data[-3] ^= 1
        file.write_bytes({"cut": data[:-1], "flip": data, "empty": b""}[damage])
    assert kept.read_part("a/b") is None
    keep_part(kept, "a/b", [2, 1])  # made again, it replaces what was damaged
    assert kept.read_part("a/b") is not None


def test_a_chunk_of_another_length_is_not_used(tmp_path: Path) -> None:
    kept = EmbeddingCache(str(tmp_path), "e@1", SAMPLING)
    keep_part(kept, "a/b", [2])
    kept.keep_part("a/b", [3], [])
    assert kept.read_part("a/b") is None


def test_a_chunk_of_which_an_image_failed_is_not_kept(tmp_path: Path) -> None:
    chunk = EmbeddedChunk(FILM, (1,), np.zeros((1, 2), np.float32), f"{tmp_path}/a")
    dead_letter = DeadLetter("embed_frames", "film.mp4@2", "embedding_failed", "")
    assert keep_chunk((chunk, [dead_letter])) == (chunk, [dead_letter])
    assert list(tmp_path.iterdir()) == []


def test_names_tell_what_decides_the_embeddings() -> None:
    kept = EmbeddingCache("", "e@1", SAMPLING)
    others = [
        part_name(kept, version="2"),
        part_name(kept, video=FILM._replace(video_id="other")),
        part_name(EmbeddingCache("", "e@2", SAMPLING)),
        part_name(EmbeddingCache("", "e@1", SAMPLING._replace(fps=2.0))),
        part_name(EmbeddingCache("", "e@1", SAMPLING._replace(mode="keyframe"))),
        part_name(EmbeddingCache("", "e@1", SAMPLING._replace(resizing=squeeze(96)))),
        kept.name_parts(FILM, "1", ENDS)[1].keep_as,
        kept.name_parts(FILM, "1", [(0, S)])[0].keep_as,
    ]
    assert len({part_name(kept), *others}) == 1 + len(others)
    same = SAMPLING._replace(limit_s=1.0, part_s=9.0)
    moved = FILM._replace(uri="gs://b/film.mp4", reference="a/film.mp4")
    assert part_name(EmbeddingCache("x", "e@1", same), video=moved) == part_name(kept)


def test_a_probe_is_kept_for_its_part_length(tmp_path: Path) -> None:
    kept = EmbeddingCache(str(tmp_path), "e@1", SAMPLING)
    assert kept.parts(FILM, "1") is None
    kept.keep_ends(FILM, "1", ENDS)
    parts = kept.parts(FILM, "1")
    assert parts == kept.name_parts(FILM, "1", ENDS)
    assert parts is not None and [tuple(part[1:3]) for part in parts] == ENDS
    assert kept.parts(FILM, "2") is None
    shorter = EmbeddingCache(str(tmp_path), "e@1", SAMPLING._replace(part_s=1.0))
    assert shorter.parts(FILM, "1") is None


def test_an_older_runs_parts_are_read_and_not_written(tmp_path: Path) -> None:
    older = EmbeddingCache(str(tmp_path / "old"), "e@1", SAMPLING)
    keep_part(older, "a/b", [1])
    for folder in ("", str(tmp_path / "new")):
        kept = EmbeddingCache(folder, "e@1", SAMPLING, older.folder)
        assert kept.read_part("a/b") is not None
    reading = EmbeddingCache("", "e@1", SAMPLING, older.folder)
    assert reading.uri("a/c") == ""
    reading.keep_part("a/c", [], [])
    reading.keep_ends(FILM, "1", ENDS)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {
        "b.part", "b-0000.chunk",
    }  # fmt: skip


def test_a_version_tells_content_from_other_content(root: str) -> None:
    uri = f"{root}/a.mp4"
    assert video_version(uri) == ""
    storage.write_bytes(uri, b"one")
    first = video_version(uri)
    assert first == video_version(uri) != ""
    storage.write_bytes(uri, b"two")
    if not storage.is_remote(uri):
        os.utime(uri, ns=(1, 1))  # whatever the file system's clock can tell apart
    assert video_version(uri) not in ("", first)
    assert video_version("https://host.example/a.mp4") == "https://host.example/a.mp4"


def test_what_a_killed_job_was_writing_is_tidied_away(tmp_path: Path) -> None:
    for name in ("a/.b.part.0123.tmp", "a/b.part", "a/c.tmp"):
        storage.write_bytes(f"{tmp_path}/{name}", b"")
    tidy(str(tmp_path))
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["b.part", "c.tmp"]
    tidy(str(tmp_path / "absent"))


def test_a_seal_is_of_its_payload(tmp_path: Path) -> None:
    uri = str(tmp_path / "a")
    for payload in (b"", b"x" * 1000):
        write_sealed(uri, payload)
        assert read_sealed(uri) == payload
