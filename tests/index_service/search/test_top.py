"""The best k seeds of a query, against a search in float64 written here."""

from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from index_service.build.build_index import IndexConfig, build_index
from index_service.search import exact
from index_service.search.searcher import Searcher, load_index

DIMENSION = 32
CENTERS = 40
COUNT = 3_000


def clustered(count: int, seed: int) -> np.ndarray:
    centers = np.random.default_rng(0).standard_normal((CENTERS, DIMENSION))
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(0, CENTERS, count)]
    rows = rows + rng.standard_normal(rows.shape) * 0.7
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def reference(
    queries: np.ndarray, vectors: np.ndarray, ids: list[str], threshold: float | None
) -> list[list[tuple[str, float]]]:
    """Find every match of each query, best first, ties by id."""
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    scores = scores.astype(np.float32)
    found = []
    for row in scores.tolist():
        matches = zip(ids, row, strict=True)
        above = [m for m in matches if threshold is None or m[1] > threshold]
        found.append(sorted(above, key=lambda match: (-match[1], match[0])))
    return found


def searched(
    searcher: Searcher, queries: np.ndarray, k: int, threshold: float | None
) -> tuple[list[list[tuple[str, float]]], list[bool]]:
    found = searcher.search(queries, k, threshold)
    assert found.similarities.dtype == np.float32 and found.counts.dtype == np.int64
    matches = list(zip(found.ids, found.similarities.tolist(), strict=True))
    ends = np.cumsum(found.counts).tolist()
    assert ends[-1] == len(matches)
    starts = [0, *ends[:-1]]
    return [matches[a:b] for a, b in zip(starts, ends, strict=True)], found.cut.tolist()


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Make clusters of 75 seeds; each of the last 100 is a twin of an earlier one."""
    rows = clustered(COUNT, seed=1)
    rows[-100:] = rows[:100]
    return rows


@pytest.fixture(scope="module")
def ids(vectors: np.ndarray) -> list[str]:
    order = np.random.default_rng(5).permutation(len(vectors))
    return [f"s{name}" for name in order.tolist()]


@pytest.fixture(scope="module", params=["exact", "flat", "tree"])
def searcher(
    request: pytest.FixtureRequest,
    vectors: np.ndarray,
    ids: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Searcher:
    directory = tmp_path_factory.mktemp(request.param) / "index"
    config = {
        "exact": IndexConfig(),
        "flat": IndexConfig(exact_below=0, sample_size=200),
        "tree": IndexConfig(exact_below=0, tree_from=0, sample_size=200),
    }[request.param]
    build_index(directory, ids, vectors, "made", 0.6, None, config)
    return load_index(directory)


@pytest.mark.parametrize("k", [1, 10, 75, 700, 5_000])
@pytest.mark.parametrize("threshold", [0.7, 0.2, None])
def test_the_best_k_stand_in_order(
    searcher: Searcher,
    vectors: np.ndarray,
    ids: list[str],
    k: int,
    threshold: float | None,
) -> None:
    queries = np.concatenate([clustered(40, seed=2), vectors[:20]])
    wanted = reference(queries, vectors, ids, threshold)
    found, cut = searched(searcher, queries, k, threshold)
    cuts = [len(matches) > k for matches in wanted]
    total = sum(len(matches[:k]) for matches in wanted)
    right = sum(
        len(set(got) & set(want[:k])) for got, want in zip(found, wanted, strict=True)
    )
    # Settings are tuned for pairs above 0.6; below that a little more may be missed.
    assert right >= (0.94 if threshold == 0.2 else 0.98) * total
    assert sum(a != b for a, b in zip(cut, cuts, strict=True)) <= len(cuts) // 30
    for got in found:
        assert got == sorted(got, key=lambda match: (-match[1], match[0]))
        assert len(got) <= k
    if searcher.manifest.kind == "exact":
        assert found == [matches[:k] for matches in wanted] and cut == cuts


def test_search_agrees_with_pairs_above(
    searcher: Searcher, vectors: np.ndarray
) -> None:
    queries = clustered(50, seed=3)
    pairs = searcher.pairs_above(queries, 0.7)
    found, _ = searched(searcher, queries, COUNT, 0.7)
    columns = (column.tolist() for column in pairs)
    assert {(q, searcher.ids[s], x) for q, s, x in zip(*columns, strict=True)} == {
        (q, seed_id, x) for q, matches in enumerate(found) for seed_id, x in matches
    }


def test_ties_beyond_blas_go_by_row() -> None:
    # 500 equal seeds: BLAS may give them different last bits, the answer must not.
    vectors = np.repeat(clustered(1, seed=4), 500, axis=0)
    pairs = exact.top_above(clustered(30, seed=6), vectors, 7, -np.inf)
    assert pairs.seed_rows.tolist() == list(range(7)) * 30


@pytest.mark.parametrize("k", [3, 400])
def test_blocks_of_seeds_leave_no_trace(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    queries = clustered(50, seed=7)
    whole = exact.top_above(queries, vectors, k, 0.0)
    monkeypatch.setattr(exact, "_BLOCK_ELEMENTS", 50 * 100)  # 30 blocks
    for column, expected in zip(
        exact.top_above(queries, vectors, k, 0.0), whole, strict=True
    ):
        assert column.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("k", "threshold", "reason"),
    [(0, 0.5, "bad_k"), (-1, None, "bad_k"), (1, np.nan, "bad_threshold")],
)
def test_a_meaningless_request_is_refused(
    searcher: Searcher, k: int, threshold: float | None, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        searcher.search(clustered(1, seed=8), k, threshold)
    assert caught.value.reason == reason
    with pytest.raises(InputError, match="shape"):
        searcher.search(clustered(1, seed=8)[:, :31], 1, 0.5)


def test_no_query_no_hit(searcher: Searcher) -> None:
    matches = searcher.search(clustered(1, seed=8)[:0], 5, None)
    assert [len(column) for column in matches] == [0, 0, 0, 0]


def test_the_version_names_the_content(tmp_path: Path, vectors: np.ndarray) -> None:
    def version(name: str, ids: list[str], embedder: str = "made") -> str:
        directory = tmp_path / name
        rows = vectors[: len(ids)]
        build_index(directory, ids, rows, embedder, 0.6, None, IndexConfig())
        return load_index(directory).version

    first = version("a", ["x", "y"])
    assert first == version("b", ["x", "y"])
    others = [version("c", ["x", "z"]), version("d", ["x", "y"], "other")]
    assert len({first, *others}) == 3
