"""Measure the recall of an index against exact search, on real embeddings.

Queries come from two sources: the caller's (a sample of the frames that will be
searched for) and some of the seeds themselves. Each source is halved: settings are
chosen on one half, and the recall reported is that of the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from index_service.search import exact
from index_service.store.tuning import Recall

PAIRS_BASIS = "pairs_above_threshold"
TOP_BASIS = "top_10"
EXACT_BASIS = "exact"
# With fewer pairs, a recall of 0.99 cannot be distinguished from 0.97.
MIN_PAIRS = 100
_TOP = 10
_BLOCK_QUERIES = 256

# A search: (queries, threshold, k) to pairs, all of them where k is None.
Find = Callable[[np.ndarray, float, int | None], exact.Pairs]


@dataclass(frozen=True)
class Probe:
    """Queries of one source, with what exact search finds for them.

    Attributes:
        source: `queries` or `seeds`.
        queries: float32 [m, d].
        seeds: float32 [n, d], the seeds that they were compared with.
        own_rows: int64 [m], the seed row that is the query itself, or -1.
        pairs: number of true pairs.
        top: int64 [m, 10] nearest seeds where these are the pairs, else [m, 0].
    """

    source: str
    queries: np.ndarray
    seeds: np.ndarray
    own_rows: np.ndarray
    pairs: int
    top: np.ndarray


@dataclass(frozen=True)
class Sample:
    """Both halves of the queries, in the same order of sources."""

    basis: str
    tuning: tuple[Probe, ...]
    held_out: tuple[Probe, ...]


def draw_sample(
    vectors: np.ndarray,
    queries: np.ndarray | None,
    threshold: float,
    size: int,
    trust_queries: bool = False,
) -> Sample:
    """Choose queries evenly over each source and search for them exactly.

    Args:
        vectors: float32 [n, d], the seeds.
        queries: float32 [m, d], or None.
        threshold: similarity that a pair must exceed.
        size: queries of each source, both halves together.
        trust_queries: whether to leave the seeds out when the queries have enough
            pairs. A sample of few videos may be easier than the whole corpus.

    Returns:
        The sources with at least `MIN_PAIRS` pairs above the threshold in each half; if
        there are none, all sources, with the nearest ten seeds as pairs.
    """
    sources = [("seeds", vectors, True)]
    if queries is not None and len(queries) >= 2:
        sources.insert(0, ("queries", queries, False))
    halves = [
        tuple(
            _probe(name, rows, half, vectors, threshold, own)
            for half in _halves(len(rows), size)
        )
        for name, rows, own in sources
    ]
    judged = [pair for pair in halves if min(p.pairs for p in pair) >= MIN_PAIRS]
    if trust_queries and judged and judged[0][0].source == "queries":
        judged = judged[:1]
    basis = PAIRS_BASIS if judged else TOP_BASIS
    if not judged:
        judged = [tuple(_with_top(p) for p in pair) for pair in halves]
    tuning, held_out = zip(*judged, strict=True)
    return Sample(basis, tuning, held_out)


def measure(find: Find, probe: Probe, threshold: float) -> Recall:
    """Count how many of a probe's pairs a search finds.

    The similarity of a pair is that of the float32 vectors, also for an index that
    stores bfloat16.
    """
    count = _top_found if probe.top.size else _pairs_found
    found = sum(count(find, part, threshold) for part in _blocks(probe))
    return Recall(probe.source, len(probe.queries), probe.pairs, found / probe.pairs)


def lowest(recalls: tuple[Recall, ...]) -> float:
    """Return the recall of the worst source."""
    return min(recall.recall for recall in recalls)


def _halves(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Spread `size` rows evenly over `count`; return their first and second half.

    The halves are contiguous because neighboring frames are nearly the same query.
    """
    rows = np.unique(np.linspace(0, count - 1, min(size, count)).astype(np.int64))
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def _probe(
    source: str,
    embeddings: np.ndarray,
    rows: np.ndarray,
    vectors: np.ndarray,
    threshold: float,
    own: bool,
) -> Probe:
    """Search exactly for some rows of a source."""
    probe = Probe(
        source,
        np.asarray(embeddings[rows]),
        vectors,
        own_rows=rows if own else np.full(len(rows), -1, np.int64),
        pairs=0,
        top=np.empty((len(rows), 0), np.int64),
    )
    pairs = sum(
        _count(exact.pairs_above(part.queries, vectors, threshold), part.own_rows)
        for part in _blocks(probe)
    )
    return replace(probe, pairs=pairs)


def _with_top(probe: Probe) -> Probe:
    """Take the ten nearest seeds of each query as its pairs."""
    top = np.concatenate(
        [
            exact.top_rows(part.queries, part.seeds, part.own_rows, _TOP)
            for part in _blocks(probe)
        ]
    )
    return replace(probe, pairs=top.size, top=top)


def _blocks(probe: Probe) -> list[Probe]:
    """Cut a probe into blocks, so that the pairs of a low threshold fit in memory."""
    cuts = range(0, len(probe.queries), _BLOCK_QUERIES)
    parts = [slice(start, start + _BLOCK_QUERIES) for start in cuts]
    return [
        replace(
            probe,
            queries=probe.queries[part],
            own_rows=probe.own_rows[part],
            top=probe.top[part],
        )
        for part in parts
    ]


def _count(pairs: exact.Pairs, own_rows: np.ndarray) -> int:
    """Count pairs, leaving out those of a seed with itself."""
    return int((own_rows[pairs.query_rows] != pairs.seed_rows).sum())


def _pairs_found(find: Find, probe: Probe, threshold: float) -> int:
    """Count the true pairs above the threshold among those that are found."""
    found = find(probe.queries, threshold, None)
    if len(found.similarity):
        found = exact.keep_above(
            probe.queries, probe.seeds, found.query_rows, found.seed_rows, threshold
        )
    return _count(found, probe.own_rows)


def _top_found(find: Find, probe: Probe, threshold: float) -> int:
    """Count the nearest seeds among twice as many, because ties may be in any order."""
    found = find(probe.queries, -np.inf, 2 * _TOP + 1)
    wanted = probe.top[found.query_rows] == found.seed_rows[:, None]
    return int(wanted.sum())
