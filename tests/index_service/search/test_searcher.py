"""The seed index against an exact search written here, on made clustered vectors."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from index_service.build.build_index import IndexConfig, build_index
from index_service.search import exact
from index_service.search.searcher import Searcher, load_index
from index_service.store import index_directory

THRESHOLD = 0.6
TREE = IndexConfig(exact_below=100, tree_from=100, sample_size=800)
FLAT = IndexConfig(exact_below=100, sample_size=600)
HUB_SEEDS = 5_000


def normalized(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / norms, np.float32)


def clustered(
    count: int, dimension: int, centers: int, seed: int, shift: float = 0.7
) -> np.ndarray:
    """Noisy copies of `centers` fixed directions: neighbors lie above 0.6."""
    directions = normalized(
        np.random.default_rng(0).standard_normal((centers, dimension))
    )
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, dimension)) * shift / np.sqrt(dimension)
    return normalized(directions[rng.integers(0, centers, count)] + noise)


def reference_pairs(
    queries: np.ndarray, vectors: np.ndarray, threshold: float
) -> dict[tuple[int, int], np.float32]:
    """Find all pairs above the threshold in float64, as an independent reference."""
    scores = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(
        np.float32
    )
    rows, columns = np.nonzero(scores > threshold)
    return {(int(r), int(c)): scores[r, c] for r, c in zip(rows, columns, strict=True)}


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{row:06d}" for row in range(count)]


class Built:
    """An index on disk with the vectors that it holds."""

    def __init__(self, directory: Path, vectors: np.ndarray, config: IndexConfig):
        self.directory, self.vectors = directory, vectors
        frames = clustered(800, vectors.shape[1], 2_000, seed=11, shift=0.5)
        self.manifest = build_index(
            directory,
            names("seed", len(vectors)),
            vectors,
            "made",
            THRESHOLD,
            frames,
            config,
        )
        self.searcher: Searcher = load_index(directory, "made", vectors.shape[1])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """40,000 seeds in a tree, 5,000 of them around one direction."""
    vectors = clustered(40_000, 64, 2_000, seed=1)
    hub = clustered(HUB_SEEDS, 64, 1, seed=2, shift=0.4)
    return Built(
        tmp_path_factory.mktemp("tree") / "index",
        np.concatenate([vectors[:-HUB_SEEDS], hub]),
        TREE,
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """3,000 seeds, hashed without a tree."""
    return Built(
        tmp_path_factory.mktemp("small") / "index", clustered(3_000, 32, 300, 3), FLAT
    )


@pytest.fixture
def frames() -> np.ndarray:
    """Draw queries that no build has seen."""
    return clustered(1_000, 64, 2_000, seed=21, shift=0.5)


def test_exact_search_finds_what_the_reference_finds() -> None:
    vectors, queries = clustered(20_000, 48, 900, 5), clustered(700, 48, 900, 6)
    found = exact.pairs_above(queries, vectors, THRESHOLD)
    wanted = reference_pairs(queries, vectors, THRESHOLD)
    assert list(zip(found.query_rows, found.seed_rows, strict=True)) == sorted(wanted)
    assert found.similarity.dtype == np.float32
    assert found.similarity.tolist() == [wanted[pair] for pair in sorted(wanted)]


def test_threshold_is_compared_as_python_compares_the_stored_value() -> None:
    # float32(0.6) > 0.6: a pair of exactly that similarity is above the threshold.
    queries = np.array([[1.0, 0.0]], np.float32)
    vectors = np.array([[0.6, 0.8], [0.8, 0.6]], np.float32)
    found = exact.pairs_above(queries, vectors, 0.6)
    assert found.seed_rows.tolist() == [0, 1]
    assert float(found.similarity[0]) > 0.6
    assert exact.pairs_above(queries, vectors, float(np.float32(0.6))).seed_rows == [1]


@pytest.mark.parametrize("kind", ["tree", "small"])
def test_recall_on_unseen_queries(kind: str, request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(kind)
    centers = 2_000 if kind == "tree" else 300
    queries = clustered(1_000, built.vectors.shape[1], centers, 21, shift=0.5)
    wanted = reference_pairs(queries, built.vectors, THRESHOLD)
    found = built.searcher.pairs_above(queries, THRESHOLD)
    pairs = list(zip(found.query_rows.tolist(), found.seed_rows.tolist(), strict=True))
    assert built.manifest.kind == "scann"
    assert pairs == sorted(pairs) and len(set(pairs)) == len(pairs)
    assert set(pairs) <= set(wanted)
    assert len(pairs) >= 0.99 * len(wanted) > 1_000
    assert found.similarity.tolist() == [wanted[pair] for pair in pairs]


def test_batch_composition_changes_no_byte(tree: Built, frames: np.ndarray) -> None:
    together = tree.searcher.pairs_above(frames[:256], THRESHOLD)
    batches = [
        (start, tree.searcher.pairs_above(frames[start : start + size], THRESHOLD))
        for size in (1, 64)
        for start in range(0, 256, size)
    ]
    for part in (batches[:256], batches[256:]):
        rows = np.concatenate([found.query_rows + start for start, found in part])
        seeds = np.concatenate([found.seed_rows for _, found in part])
        scores = np.concatenate([found.similarity for _, found in part])
        assert rows.tobytes() == together.query_rows.tobytes()
        assert seeds.tobytes() == together.seed_rows.tobytes()
        assert scores.tobytes() == together.similarity.tobytes()


def test_threads_may_share_a_searcher(tree: Built, frames: np.ndarray) -> None:
    alone = tree.searcher.pairs_above(frames, THRESHOLD)
    with ThreadPoolExecutor(4) as pool:
        shared = pool.map(tree.searcher.pairs_above, [frames] * 8, [THRESHOLD] * 8)
        for found in shared:
            for column, expected in zip(found, alone, strict=True):
                assert column.tobytes() == expected.tobytes()


def test_exact_and_scann_give_a_pair_the_same_bytes(
    tree: Built, frames: np.ndarray
) -> None:
    approximate = tree.searcher.pairs_above(frames, THRESHOLD)
    complete = tree.searcher.exact_pairs_above(frames, THRESHOLD)
    scores = {(q, s): x.tobytes() for q, s, x in zip(*complete, strict=True)}
    assert len(approximate.similarity) > 1_000
    for q, s, x in zip(*approximate, strict=True):
        assert scores[q, s] == x.tobytes()


def test_a_list_of_5000_seeds_is_not_cut(tree: Built) -> None:
    hub = clustered(1, 64, 1, seed=3, shift=0.01)
    wanted = reference_pairs(hub, tree.vectors, THRESHOLD)
    found = tree.searcher.pairs_above(hub, THRESHOLD)
    assert len(wanted) >= HUB_SEEDS * 0.9
    assert set(zip(found.query_rows, found.seed_rows, strict=True)) == set(wanted)


def test_two_builds_are_the_same_whatever_the_order_of_arrival(
    tree: Built, tmp_path: Path
) -> None:
    order = np.random.default_rng(4).permutation(len(tree.vectors))
    again = build_index(
        tmp_path / "again",
        [f"seed{row:06d}" for row in order],
        tree.vectors[order],
        "made",
        THRESHOLD,
        clustered(800, 64, 2_000, seed=11, shift=0.5),
        TREE,
    )
    assert again.files == tree.manifest.files
    assert again.settings == tree.manifest.settings
    assert again.audit.held_out == tree.manifest.audit.held_out
    assert again.settings is not None and again.settings.leaves == 200


def test_ids_stay_with_their_vectors(small: Built, tmp_path: Path) -> None:
    ids = [f"s{row}" for row in range(500)]  # not in the order of text
    build_index(
        tmp_path / "i", ids, small.vectors[:500], "made", 0.6, None, IndexConfig()
    )
    searcher = load_index(tmp_path / "i")
    found = searcher.pairs_above(small.vectors[40:41], 0.9999)
    assert [searcher.ids[row] for row in found.seed_rows] == ["s40"]
    assert searcher.manifest.kind == "exact"


def test_a_moved_index_answers_the_same(small: Built, tmp_path: Path) -> None:
    queries = clustered(200, 32, 300, seed=8)
    shutil.copytree(small.directory, tmp_path / "a")
    before = load_index(tmp_path / "a").pairs_above(queries, THRESHOLD)
    (tmp_path / "b").mkdir()
    (tmp_path / "a").rename(tmp_path / "b" / "moved")
    after = load_index(tmp_path / "b" / "moved").pairs_above(queries, THRESHOLD)
    assert len(before.similarity) > 100
    for old, new in zip(before, after, strict=True):
        assert old.tobytes() == new.tobytes()


def test_vectors_are_memory_mapped(small: Built) -> None:
    assert isinstance(small.searcher.vectors, np.memmap)


@pytest.mark.parametrize("name", ["vectors.npy", "ids.txt", "scann/hashed_dataset.npy"])
@pytest.mark.parametrize("harm", ["flipped", "truncated", "gone"])
def test_a_damaged_file_is_named(
    small: Built, tmp_path: Path, name: str, harm: str
) -> None:
    shutil.copytree(small.directory, tmp_path / "i")
    victim = tmp_path / "i" / name
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_bytes(content if harm == "flipped" else content[:-1])
    with pytest.raises(InputError) as caught:
        load_index(tmp_path / "i")
    assert caught.value.reason == "damaged_index"
    assert str(victim) in caught.value.message


def test_a_directory_without_a_sound_manifest_is_no_index(
    small: Built, tmp_path: Path
) -> None:
    shutil.copytree(small.directory, tmp_path / "i")
    manifest = tmp_path / "i" / index_directory.MANIFEST
    fields = json.loads(manifest.read_text())
    for text in ("{", "[]", json.dumps({**fields, "format_version": 99}), "{}"):
        manifest.write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json") as caught:
            load_index(tmp_path / "i")
        assert caught.value.reason == "damaged_index"
    manifest.unlink()
    with pytest.raises(InputError, match="did not finish"):
        load_index(tmp_path / "i")


def test_the_manifest_survives_json(tree: Built) -> None:
    assert index_directory.read_manifest(tree.directory) == tree.manifest


@pytest.mark.parametrize(("embedder", "dimension"), [("other", None), ("made", 33)])
def test_another_embedder_is_refused(
    small: Built, embedder: str, dimension: int | None
) -> None:
    with pytest.raises(InputError) as caught:
        load_index(small.directory, embedder, dimension)
    assert caught.value.reason == "embedder_mismatch"


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "not_finite"), (np.inf, "not_finite"), (3.0, "not_unit_norm")],
)
def test_a_meaningless_query_is_refused(
    small: Built, value: float, reason: str
) -> None:
    queries = small.vectors[:5].copy()
    queries[3, 7] = value
    for search in (small.searcher.pairs_above, small.searcher.exact_pairs_above):
        with pytest.raises(InputError, match="query row 3") as caught:
            search(queries, THRESHOLD)
        assert caught.value.reason == reason
    with pytest.raises(InputError, match="shape"):
        small.searcher.pairs_above(small.vectors[:5, :31], THRESHOLD)


def test_no_query_no_pair(small: Built) -> None:
    found = small.searcher.pairs_above(small.vectors[:0], THRESHOLD)
    assert [len(column) for column in found] == [0, 0, 0]
