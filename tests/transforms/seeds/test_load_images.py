"""From rows of seeds to pixels, seeds and dead dead_letters."""

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from PIL import Image

from clipseed.elements import Seed, SeedRow
from clipseed.errors import DeadLetter, InputError
from clipseed.io.http import FetchConfig
from models.pretrained.resizing import squeeze
from tests.support.made_media import encoded, still
from transforms.media.isolation.worker_process import Isolation
from transforms.media.resize_picture import load_picture
from transforms.seeds.load_images import (
    LoadConfig,
    LoadedBatch,
    LoadSeeds,
    SeedBatch,
    batches,
    load_batch,
    read_image,
)

CONFIG = LoadConfig(squeeze(32))


def seed_id(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two pictures, the first under two names."""
    root = tmp_path_factory.mktemp("seeds")
    for scene, names in ((1, ("a.png", "copy of a.png")), (2, ("b.png",))):
        for name in names:
            Image.fromarray(still(scene)).save(root / name)
    return root


def row(folder: Path, name: str, caption: str = "c") -> SeedRow:
    return SeedRow(name, str(folder / name), caption)


def load(*rows: SeedRow) -> LoadedBatch:
    return load_batch(SeedBatch("file-000000", list(rows)), CONFIG, Isolation(False))


def test_captions_and_copies_of_an_image_are_one_seed(folder: Path) -> None:
    loaded = load(
        row(folder, "a.png", "first"),
        row(folder, "b.png", "second"),
        row(folder, "a.png", "third"),
        row(folder, "copy of a.png", "fourth"),
    )
    a, b = (seed_id((folder / name).read_bytes()) for name in ("a.png", "b.png"))
    assert loaded.seeds == [
        Seed(a, "a.png", "first"),
        Seed(b, "b.png", "second"),
        Seed(a, "a.png", "third"),
        Seed(a, "copy of a.png", "fourth"),
    ]
    assert loaded.rejected == [] and loaded.embedded is None
    assert loaded.images is not None
    assert loaded.images.source == "file-000000"
    assert loaded.images.keys == ((a, "a.png"), (b, "b.png"))
    assert loaded.images.images.shape == (2, 32, 32, 3)
    assert loaded.images.images.dtype == np.uint8
    means = loaded.images.images.mean(axis=(1, 2))
    assert np.abs(means[0] - still(1).mean(axis=(0, 1))).max() < 2
    assert np.abs(means[1] - still(2).mean(axis=(0, 1))).max() < 2


def crashing(data: bytes, *rest: Any) -> Iterator[np.ndarray]:
    """Stand in for a decoder that some bytes crash, as C code may."""
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    yield from load_picture(data, *rest)


def test_an_image_that_crashes_the_decoder_is_one_dead_letter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "crash.png").write_bytes(b"crash")
    monkeypatch.setattr("transforms.seeds.load_images.load_picture", crashing)
    rows = [row(folder, name) for name in ("a.png", "crash.png", "b.png")]
    isolation = Isolation()
    loaded = load_batch(SeedBatch("file-000000", rows), CONFIG, isolation)
    isolation.close()
    assert [seed.reference for seed in loaded.seeds] == ["a.png", "b.png"]
    (dead_letter,) = loaded.rejected
    assert (dead_letter.key, dead_letter.reason) == ("crash.png", "decoder_crashed")
    in_process = load(rows[0], rows[2])
    assert loaded.images is not None and in_process.images is not None
    np.testing.assert_array_equal(loaded.images.images, in_process.images.images)


def test_each_row_of_a_bad_image_is_a_dead_letter(folder: Path) -> None:
    (folder / "text.png").write_text("no picture")
    bad = [row(folder, n) for n in ("text.png", "absent.png", "text.png")]
    loaded = load(*bad, row(folder, "a.png"))
    assert [dead_letter[:3] for dead_letter in loaded.rejected] == [
        ("load_seeds", "text.png", "not_an_image"),
        ("load_seeds", "absent.png", "not_found"),
        ("load_seeds", "text.png", "not_an_image"),
    ]
    assert [seed.reference for seed in loaded.seeds] == ["a.png"]
    assert len(loaded.seeds) + len(loaded.rejected) == 4


def test_a_batch_of_bad_images_has_no_chunk(folder: Path) -> None:
    loaded = load(row(folder, "absent.png"))
    assert loaded.images is None and loaded.embedded is None and loaded.seeds == []


def test_precomputed_embeddings_stand_in_for_images() -> None:
    vectors = np.eye(2, 3, dtype=np.float32)
    rows = [
        SeedRow(f"{name}.jpg", "/nowhere", "c", embedding=vectors[i].tobytes())
        for name, i in (("one", 0), ("two", 1), ("one", 0))
    ]
    # Rows of a table without images have no URI: their reference distinguishes them.
    loaded = load(*(r._replace(uri="") for r in rows))
    one, two = seed_id(b"one.jpg"), seed_id(b"two.jpg")
    assert [seed.seed_id for seed in loaded.seeds] == [one, two, one]
    assert loaded.images is None and loaded.embedded is not None
    assert loaded.embedded.keys == ((one, "one.jpg"), (two, "two.jpg"))
    np.testing.assert_array_equal(loaded.embedded.embeddings, vectors)


def test_an_image_in_a_shard_is_read_at_its_offset(tmp_path: Path) -> None:
    picture = encoded(Image.fromarray(still(1)), "PNG")
    shard = tmp_path / "0.tar"
    shard.write_bytes(b"x" * 512 + picture + b"y" * 100)
    inside = SeedRow("0.tar#a.png", str(shard), "c", 512, len(picture))
    assert read_image(inside, FetchConfig()) == picture
    assert load(inside).seeds == [Seed(seed_id(picture), "0.tar#a.png", "c")]


def test_an_image_in_a_shard_may_be_too_large(tmp_path: Path) -> None:
    limits = FetchConfig(max_bytes=10)
    with pytest.raises(InputError) as caught:
        read_image(SeedRow("a", str(tmp_path / "absent.tar"), "c", 0, 11), limits)
    assert caught.value.reason == "too_large"


def test_images_at_several_places_of_a_shard_are_several(tmp_path: Path) -> None:
    pictures = [encoded(Image.fromarray(still(scene)), "PNG") for scene in (1, 2)]
    shard = tmp_path / "0.tar"
    shard.write_bytes(b"".join(pictures))
    starts = (0, len(pictures[0]))
    rows = [
        SeedRow(f"{start}", str(shard), "c", start, len(picture))
        for start, picture in zip(starts, pictures, strict=True)
    ]
    assert [s.seed_id for s in load(*rows).seeds] == [seed_id(p) for p in pictures]


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (3, [3]), (4, [4]), (9, [4, 4, 1])]
)
def test_batches_are_named_by_file_and_number(count: int, sizes: list[int]) -> None:
    rows = [SeedRow(f"{i}", f"{i}", "c") for i in range(count)]
    made = list(batches(rows, "file", 4))
    assert [batch.name for batch in made] == [
        f"file-{number:06d}" for number in range(len(sizes))
    ]
    assert [len(batch.rows) for batch in made] == sizes
    assert [r for batch in made for r in batch.rows] == rows


def test_in_a_pipeline_by_tag(folder: Path) -> None:
    vector = SeedRow("v", "", "c", embedding=np.ones(1, np.float32).tobytes())
    rows = [row(folder, "a.png"), row(folder, "absent.png"), vector]
    a = seed_id((folder / "a.png").read_bytes())
    with TestPipeline(runner="FnApiRunner") as pipeline:
        loaded = (
            pipeline | beam.Create([SeedBatch("file-000000", rows)]) | LoadSeeds(CONFIG)
        )
        seeds = [Seed(a, "a.png", "c"), Seed(seed_id(b"v"), "v", "c")]
        assert_that(loaded.seeds, equal_to(seeds), label="seeds")
        reasons = loaded.rejected | "Reason" >> beam.Map(lambda r: r[:3])
        dead_letter = ("load_seeds", "absent.png", "not_found")
        assert_that(reasons, equal_to([dead_letter]), label="rejected")
        keys = (loaded.images, loaded.embedded) | beam.Flatten() | beam.Map(
            lambda chunk: chunk.keys
        )  # fmt: skip
        wanted = [((a, "a.png"),), ((seed_id(b"v"), "v"),)]
        assert_that(keys, equal_to(wanted), label="chunks")


def test_rejected_rows_name_the_stage() -> None:
    (dead_letter,) = load(SeedRow("r", "ftp://host/a.png", "c")).rejected
    assert isinstance(dead_letter, DeadLetter)
    assert (dead_letter.stage, dead_letter.reason) == (
        "load_seeds",
        "unsupported_scheme",
    )
