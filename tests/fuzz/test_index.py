"""Damaged indexes and messages: each is refused with one clear error, or is whole."""

import random
import shutil
from pathlib import Path

import grpc
import numpy as np
import pytest

from benchmarks.fuzz.mutations import mutate
from benchmarks.fuzz.sources import Source
from clipseed.errors import InputError
from index_service.build.build_index import IndexConfig, build_index
from index_service.search.searcher import Searcher, load_index
from index_service.store import index_directory
from tests.support.servers.index_server import (
    EMBEDDER,
    connection,
    make_index,
    request,
    serving,
    stub,
    unit_rows,
)

QUERIES = unit_rows(4, seed=1)
SEARCH = "/clipseed.index.v1.IndexService/"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("index") / "one", unit_rows(300))


@pytest.fixture(scope="module")
def scann_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("index") / "scann"
    vectors, ids = unit_rows(300), [f"seed-{i}" for i in range(300)]
    config = IndexConfig(exact_below=0, tree_from=0, sample_size=50, target_recall=0.5)
    manifest = build_index(directory, ids, vectors, EMBEDDER, 0.5, None, config)
    assert manifest.kind == "scann"
    return directory


def sources(directory: Path) -> list[Source]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return [Source(path.name, path.read_bytes()) for path in paths]


def outcome(directory: Path) -> Searcher | str:
    """Load an index; any exception but an `InputError` fails the test."""
    try:
        return load_index(directory)
    except InputError as error:
        assert "\n" not in error.message and len(error.message) < 1000
        return error.reason


def damage(directory: Path, number: int, only: str = "") -> bool:
    """Damage a file of an index; return whether its bytes are others now."""
    rng = random.Random(f"index/{number}")
    every = sources(directory)
    chosen = rng.choice([source for source in every if only in source.name])
    (path,) = directory.rglob(chosen.name)
    path.write_bytes(mutate(chosen, every, rng).data)
    return path.read_bytes() != chosen.data


def check_directories(index: Path, scratch: Path, numbers: range) -> None:
    for number in numbers:
        copy = scratch / "copy"
        shutil.copytree(index, copy)
        changed = damage(copy, number)
        result = outcome(copy)
        if changed and isinstance(result, Searcher):  # The layout of the JSON alone.
            assert result.manifest == load_index(index).manifest, number
        elif changed:
            assert result == "damaged_index", number
        shutil.rmtree(copy)


def test_a_damaged_index_is_refused(index: Path, tmp_path: Path) -> None:
    check_directories(index, tmp_path, range(150))


@pytest.mark.ci_only
def test_many_damaged_indexes_are_refused(scann_index: Path, tmp_path: Path) -> None:
    check_directories(scann_index, tmp_path, range(1000, 3000))


@pytest.mark.parametrize("name", ["vectors.npy", "ids.txt"])
def test_damage_that_was_sealed_is_refused_or_harmless(
    index: Path, tmp_path: Path, name: str
) -> None:
    """Whoever copies a damaged index and makes its hashes again gets an error too."""
    for number in range(60):
        copy = tmp_path / "copy"
        shutil.copytree(index, copy)
        damage(copy, number, name)
        manifest = index_directory.read_manifest(index)
        files = index_directory.list_files(copy)
        sealed = manifest.__class__(**{**vars(manifest), "files": files})
        index_directory.write_manifest(copy, sealed)
        result = outcome(copy)
        if isinstance(result, Searcher):
            with np.errstate(invalid="ignore"):
                result.search(QUERIES, 5, None)
        else:
            assert result == "damaged_index"
        shutil.rmtree(copy)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", "[" * 100_000, '{"format_version": 3}', "\0", "9" * 5000],
)
def test_a_manifest_of_anything_is_refused(
    index: Path, tmp_path: Path, text: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    (copy / index_directory.MANIFEST).write_text(text)
    assert outcome(copy) == "damaged_index"


def check_messages(index: Path, numbers: range) -> None:
    message = request(QUERIES, 5, threshold=0.1).SerializeToString()
    others = [Source("search", message), Source("noise", bytes(range(256)) * 20)]
    with serving(index) as server, connection(server.port) as channel:
        for number in numbers:
            rng = random.Random(f"message/{number}")
            data = mutate(others[0], others, rng).data
            method = rng.choice(["Search", "Search", "Search", "Stats", "Reload"])
            try:
                list(channel.unary_stream(SEARCH + method)(data, timeout=20))
            except grpc.RpcError as error:
                refusals = (grpc.StatusCode.INVALID_ARGUMENT,)
                if method == "Reload":
                    refusals = (*refusals, grpc.StatusCode.FAILED_PRECONDITION)
                assert error.code() in refusals, (number, error)
                reason = (error.details() or "").partition(":")[0]
                assert reason.isidentifier(), (number, error)
        with stub(server.port) as client:
            answer = client.Search(request(QUERIES, 5, threshold=0.1), timeout=5)
    wanted = load_index(index).search(QUERIES, 5, 0.1)
    assert list(answer.ids) == wanted.ids
    assert np.isfinite(answer.similarities).all()


def test_damaged_messages_are_answered_or_refused(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_service.serve.peers._PENALTY_S", 0.0)
    check_messages(index, range(300))


@pytest.mark.ci_only
def test_many_damaged_messages_are_answered_or_refused(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index_service.serve.peers._PENALTY_S", 0.0)
    check_messages(index, range(10_000, 13_000))
