"""The searches that `benchmarks.index` compares: each finds all pairs above τ.

Every engine returns exact similarities of what it finds, and is tuned by the same
queries to the same share of the pairs.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from index_service.build.build_index import IndexConfig, build_index
from index_service.search import exact
from index_service.search.exact import Pairs
from index_service.search.searcher import load_index

BATCH = 256
_CHOICE = "choice.json"
_INDEX = "index.faiss"

Search = Callable[[np.ndarray], Pairs]


class Task(NamedTuple):
    """What is searched for.

    Attributes:
        seeds: float32 [n, d], unit norm.
        queries: float32 [m, d], to tune with.
        threshold: τ.
        target: share of the pairs to find.
    """

    seeds: np.ndarray
    queries: np.ndarray
    threshold: float
    target: float


def search_all(search: Search, queries: np.ndarray) -> Pairs:
    """Search in batches."""
    parts = []
    for start in range(0, len(queries), BATCH):
        pairs = search(queries[start : start + BATCH])
        parts.append(pairs._replace(query_rows=pairs.query_rows + start))
    return exact.join(parts)


def recall(found: Pairs, truth: Pairs, count: int) -> float:
    """Return the share of the true pairs among those found."""
    keys = (pairs.query_rows * count + pairs.seed_rows for pairs in (found, truth))
    return len(np.intersect1d(*keys)) / len(truth.query_rows)


# --- exact and ScaNN -----------------------------------------------------------------


def build_exact(task: Task, directory: Path) -> int:
    """Build nothing; return the bytes of the vectors."""
    return task.seeds.nbytes


def load_exact(task: Task, directory: Path) -> Search:
    """Blocked matrix products."""
    seeds = np.asarray(task.seeds)
    return lambda queries: exact.pairs_above(queries, seeds, task.threshold)


def build_scann(task: Task, directory: Path) -> int:
    """Build as `clipseed index build` does, even where it would choose exact search."""
    ids = [f"{row:09d}" for row in range(len(task.seeds))]
    config = IndexConfig(
        exact_below=0,
        tree_from=0,
        tree_sizes=(1.0, 2.0),
        target_recall=task.target,
        sample_size=len(task.queries),
        trust_queries=True,
    )
    manifest = build_index(
        directory / "index",
        ids,
        task.seeds,
        "benchmark",
        task.threshold,
        task.queries,
        config,
    )
    settings = manifest.settings
    _choose(directory, settings.words() if settings else "exact")
    return manifest.memory_bytes


def load_scann(task: Task, directory: Path) -> Search:
    """Return the searcher of the jobs and of the service."""
    searcher = load_index(directory / "index")
    return lambda queries: searcher.pairs_above(queries, task.threshold)


# --- faiss ---------------------------------------------------------------------------


def build_ivf(task: Task, directory: Path) -> int:
    """IVF with fast-scan PQ, 2 dimensions a code of 4 bits, and float32 refinement."""
    count, dimension = task.seeds.shape
    lists = round(2 * np.sqrt(count))
    index = faiss.index_factory(
        dimension,
        f"IVF{lists},PQ{dimension // 2}x4fs,RFlat",
        faiss.METRIC_INNER_PRODUCT,
    )
    index.train(task.seeds)
    index.add(task.seeds)
    probes = [max(1, round(lists * s)) for s in (1 / 64, 1 / 32, 1 / 16, 3 / 32, 1 / 8,
                                                1 / 4, 1 / 2, 1)]  # fmt: skip
    grid = itertools.product((32, 64, 128), (1, 2, 4), probes)
    return _tune(task, directory, index, [_IvfKnobs(*knobs) for knobs in grid])


class _IvfKnobs(NamedTuple):
    k: int
    k_factor: int
    nprobe: int

    def set_on(self, index: Any) -> None:
        index.k_factor = self.k_factor
        faiss.extract_index_ivf(index.base_index).nprobe = self.nprobe


def build_hnsw(task: Task, directory: Path) -> int:
    """HNSW of degree 32 over float32."""
    dimension = task.seeds.shape[1]
    index = faiss.index_factory(dimension, "HNSW32", faiss.METRIC_INNER_PRODUCT)
    index.add(task.seeds)
    grid = itertools.product((32, 64, 128), (32, 64, 96, 128, 192, 256, 512, 1024))
    return _tune(task, directory, index, [_HnswKnobs(*k) for k in grid if k[1] >= k[0]])


class _HnswKnobs(NamedTuple):
    k: int
    ef_search: int

    def set_on(self, index: Any) -> None:
        index.hnsw.efSearch = self.ef_search


_Knobs = _IvfKnobs | _HnswKnobs
_KNOBS = {"ivf": _IvfKnobs, "hnsw": _HnswKnobs}


def load_faiss(task: Task, directory: Path) -> Search:
    """Return the index with its knobs as tuned."""
    index = faiss.read_index(str(directory / _INDEX))
    choice = json.loads((directory / _CHOICE).read_text())["knobs"]
    knobs = _KNOBS["ivf" if "nprobe" in choice else "hnsw"](**choice)
    knobs.set_on(index)
    return _faiss_search(index, knobs.k, task.threshold)


def _faiss_search(index: Any, k: int, threshold: float) -> Search:
    def search(queries: np.ndarray) -> Pairs:
        scores, seeds = index.search(queries, k)
        rows, columns = np.nonzero((scores > threshold) & (seeds >= 0))
        return Pairs(rows, seeds[rows, columns], scores[rows, columns])

    return search


def _tune(task: Task, directory: Path, index: Any, grid: list[_Knobs]) -> int:
    """Keep the fastest knobs that suffice, or those that find most."""
    truth = search_all(load_exact(task, directory), task.queries)
    trials = list(_trials(task, index, grid, truth))
    enough = [trial for trial in trials if trial[0] >= task.target]
    best = min(enough, key=lambda t: t[1]) if enough else max(trials)
    faiss.write_index(index, str(directory / _INDEX))
    knobs = best[2]._asdict()
    words = ", ".join(f"{name} {value}" for name, value in knobs.items())
    _choose(directory, words, knobs)
    return (directory / _INDEX).stat().st_size


def _trials(
    task: Task, index: Any, grid: list[_Knobs], truth: Pairs
) -> Iterator[tuple[float, float, _Knobs]]:
    """Yield recall and seconds of each knobs."""
    for knobs in grid:
        knobs.set_on(index)
        search = _faiss_search(index, knobs.k, task.threshold)
        began = time.perf_counter()
        found = search_all(search, task.queries)
        seconds = time.perf_counter() - began
        yield recall(found, truth, len(task.seeds)), seconds, knobs


def _choose(directory: Path, words: str, knobs: dict[str, int] | None = None) -> None:
    text = json.dumps({"words": words, "knobs": knobs})
    (directory / _CHOICE).write_text(text)


def choice(directory: Path) -> str:
    """Describe what tuning chose."""
    path = directory / _CHOICE
    return json.loads(path.read_text())["words"] if path.exists() else ""


ENGINES = {
    "exact": (build_exact, load_exact),
    "scann": (build_scann, load_scann),
    "faiss ivf-pq": (build_ivf, load_faiss),
    "faiss hnsw": (build_hnsw, load_faiss),
}
