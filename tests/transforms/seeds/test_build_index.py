"""The seeds' index, built once from the parts that workers wrote."""

import random
import tempfile
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import EmbeddedChunk, Video, VideoPart
from clipseed.io import storage
from clipseed.io.http import FetchConfig
from clipseed.io.listing import list_files
from clipseed.run.files import describe_file
from index_service.search.searcher import load_index
from models.embedders.descriptor import DIMENSION, EMBEDDER_ID
from models.pretrained.resizing import squeeze
from tests.support.made_media import film, write_video
from transforms.media.sample_frames import SamplingConfig
from transforms.seeds.build_index import (
    BuildConfig,
    BuildIndex,
    SamplePartsFn,
    _build,
    describe_index,
    read_seeds_files,
    sample_queries,
    upload_directory,
    write_seeds,
)

END = 2**62


def chunk(name: str, *ids: str) -> EmbeddedChunk:
    """Make seeds along the axis that the first letter of their id names."""
    keys = tuple((seed_id, f"{seed_id}.png") for seed_id in ids)
    rows = [ord(seed_id[0]) - ord("a") for seed_id in ids]
    return EmbeddedChunk(name, keys, np.eye(8, dtype=np.float32)[rows])


def build_config(root: str) -> BuildConfig:
    sampling = SamplingConfig(1.0, "exact", squeeze(224), 120.0, 60.0)
    fetch = FetchConfig()
    return BuildConfig(root, "descriptor", EMBEDDER_ID, 0.6, sampling, fetch, False)


def video_parts(count: int) -> list[VideoPart]:
    return [
        VideoPart(Video(f"v{i}", f"{i}", f"/{i}.mp4"), 0, END) for i in range(count)
    ]


# --- parts ---------------------------------------------------------------------------


def test_parts_are_read_in_order_of_name_each_seed_once(root: str) -> None:
    parts = [
        write_seeds(chunk("f-000001", "b", "c"), root),
        write_seeds(chunk("f-000000", "b", "a"), root),
    ]
    assert parts == [f"{root}/work/seeds/f-00000{n}.npz" for n in (1, 0)]
    for given in (parts, parts[::-1], parts * 2):  # a part may be told of twice
        ids, embeddings = read_seeds_files(given)
        assert ids == ["b", "a", "c"]
        assert embeddings.dtype == np.float32
        np.testing.assert_array_equal(embeddings, np.eye(8)[[1, 0, 2]])


def test_no_parts_are_no_seeds() -> None:
    ids, embeddings = read_seeds_files([])
    assert (ids, embeddings.shape) == ([], (0, 0))


# --- the sample that an approximate index is tuned on --------------------------------


def test_the_sample_does_not_depend_on_the_order() -> None:
    combine = SamplePartsFn(4)
    samples = []
    for seed in range(5):
        shuffled = random.Random(seed).sample(video_parts(50), 50)
        parts = []
        for start in range(0, 50, 7 + seed):
            sample = combine.create_accumulator()
            for part in shuffled[start : start + 7 + seed]:
                sample = combine.add_input(sample, part)
            parts.append(combine.compact(sample))
        assert max(map(len, parts)) == 4
        samples.append(combine.extract_output(combine.merge_accumulators(parts)))
    assert samples == [samples[0]] * 5 and len(set(samples[0])) == 4


def test_a_small_corpus_is_its_own_sample() -> None:
    combine = SamplePartsFn(4)
    few = combine.extract_output(combine.merge_accumulators([video_parts(3), []]))
    assert sorted(few) == video_parts(3)
    assert combine.extract_output(combine.create_accumulator()) == []


def test_sampled_frames_are_embedded_and_bad_videos_passed_over(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "a.mp4", film(1, 3), options={"g": "25"})
    bad = VideoPart(Video("bad", "bad", str(tmp_path / "absent.mp4")), 0, END)
    good = VideoPart(Video("good", "good", str(path)), 0, END)
    config = build_config(str(tmp_path))
    queries = sample_queries([bad, good], config)
    assert queries is not None and queries.shape == (3, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-5)
    assert sample_queries([bad], config) is None


# --- the index -----------------------------------------------------------------------


def build(root: str, *chunks: EmbeddedChunk) -> tuple[list, dict[str, list]]:
    """Build an index; return the main output and the tagged ones."""
    parts = [write_seeds(chunk, root) for chunk in chunks]
    directory: list = []
    tagged: dict[str, list] = {"manifest": [], "files": []}
    for item in _build(None, build_config(root), parts, video_parts(3)):
        if isinstance(item, beam.pvalue.TaggedOutput):
            tagged[item.tag].append(item.value)
        else:
            directory.append(item)
    return directory, tagged


def test_an_index_of_all_parts_is_built_and_listed(root: str) -> None:
    parts = chunk("f-000000", "b", "c"), chunk("f-000001", "a", "b")
    directory, tagged = build(root, *parts)
    assert directory == [f"{root}/index"]
    (manifest,) = tagged["manifest"]
    assert (manifest.kind, manifest.count, manifest.dimension) == ("exact", 3, 8)
    assert (manifest.embedder_id, manifest.threshold) == (EMBEDDER_ID, 0.6)
    assert [file[:2] for file in tagged["files"]] == [
        ("index/ids.txt", 3),
        ("index/manifest.json", 0),
        ("index/vectors.npy", 3),
    ]
    for file in tagged["files"]:
        with storage.localize(f"{root}/{file.path}") as path:
            assert describe_file(path, file.path, file.records) == file
    there = [f"{root}/{file.path}" for file in tagged["files"]]
    assert sorted(list_files(f"{root}/index")) == there


def test_a_second_attempt_replaces_what_the_first_one_left(root: str) -> None:
    """Engines try again when a worker is lost, perhaps after it had finished."""
    seeds = chunk("f-000000", "a", "b")
    first = build(root, seeds)
    there = sorted(list_files(f"{root}/index"))
    assert build(root, seeds) == first
    assert sorted(list_files(f"{root}/index")) == there


def test_no_scratch_is_left_of_a_remote_index(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    build(f"{bucket}/{tmp_path.name}", chunk("f-000000", "a"))
    assert list(tmp_path.iterdir()) == []


def test_the_built_index_is_loaded_and_finds(tmp_path: Path) -> None:
    build(str(tmp_path), chunk("f-000000", "c", "a"))
    searcher = load_index(tmp_path / "index")
    assert searcher.ids == ["a", "c"]
    pairs = searcher.pairs_above(np.eye(8, dtype=np.float32)[[2]], 0.6)
    assert pairs.seed_rows.tolist() == [1] and pairs.similarity.tolist() == [1.0]


def test_without_a_seed_there_is_no_index(tmp_path: Path) -> None:
    assert build(str(tmp_path)) == ([""], {"manifest": [], "files": []})
    assert not (tmp_path / "index").exists()


def test_in_a_pipeline_the_build_waits_for_all_parts(tmp_path: Path) -> None:
    chunks = [chunk(f"f-{n:06d}", name) for n, name in enumerate("hgfedcba")]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        corpus = pipeline | "VideoParts" >> beam.Create(video_parts(3))
        seeds = pipeline | "Seeds" >> beam.Create(chunks)
        index = seeds | BuildIndex(build_config(str(tmp_path)), corpus)
        wanted = [str(tmp_path / "index")]
        assert_that(index.directory, equal_to(wanted), label="directory")
        counts = index.manifest | beam.Map(lambda manifest: manifest.count)
        assert_that(counts, equal_to([8]), label="manifest")
        paths = index.files | "Path" >> beam.Map(lambda file: file.path)
        names = ("ids.txt", "manifest.json", "vectors.npy")
        assert_that(paths, equal_to([f"index/{n}" for n in names]), label="files")
    assert (tmp_path / "index/ids.txt").read_text() == "".join(
        f"{name}\n" for name in "abcdefgh"
    )


def test_an_index_is_listed_with_its_folders(tmp_path: Path) -> None:
    (tmp_path / "scann").mkdir()
    for name in ("scann/leaves", "vectors.npy", "manifest.json"):
        (tmp_path / name).write_text(name)
    listed = [file[:3] for file in describe_index(tmp_path, 7)]
    assert listed == [
        ("index/manifest.json", 0, 13),
        ("index/scann/leaves", 0, 12),
        ("index/vectors.npy", 7, 11),
    ]


def test_the_manifest_is_uploaded_last(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scann").mkdir()
    for name in ("manifest.json", "scann/zz", "ids.txt"):
        (tmp_path / name).write_text(name)
    published: list[str] = []
    publish = storage.publish

    def note(local_path: str, uri: str) -> None:
        published.append(uri)
        publish(local_path, uri)

    monkeypatch.setattr(storage, "publish", note)
    upload_directory(str(tmp_path), f"{bucket}/up")
    names = ("ids.txt", "scann/zz", "manifest.json")
    assert published == [f"{bucket}/up/{name}" for name in names]
    assert storage.read_bytes(f"{bucket}/up/scann/zz", 99) == b"scann/zz"
