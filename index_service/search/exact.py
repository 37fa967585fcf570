"""Exact search: every pair above a threshold, and similarities with stable bytes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

_BLOCK_ELEMENTS = 1 << 22
_BLOCK_QUERIES = 512
_BOUND_SEEDS = 4096

# Called between blocks of a search; raises to end one that nobody waits for any more.
Check = Callable[[], None]


def proceed() -> None:
    """Let a search continue: the check of a search that nothing ends early."""


class Pairs(NamedTuple):
    """Query-seed pairs above a threshold, ordered by (query row, seed row).

    Attributes:
        query_rows: int64 [p].
        seed_rows: int64 [p].
        similarity: float32 [p], dot products of unit vectors.
    """

    query_rows: np.ndarray
    seed_rows: np.ndarray
    similarity: np.ndarray


def float32_margin(dimension: int) -> float:
    """Bound the rounding error of a float32 dot product of two unit vectors.

    Twice the textbook bound `d * 2**-24`, whatever order BLAS adds in.
    """
    return dimension * 2.0**-23


def rescore(
    queries: np.ndarray,
    vectors: np.ndarray,
    query_rows: np.ndarray,
    seed_rows: np.ndarray,
) -> np.ndarray:
    """Compute the similarity of pairs, bit-identical in any batch.

    Products of float32 are exact in float64, and each pair is summed along its own
    contiguous row, so the result depends on neither the batch size nor a BLAS kernel.

    Args:
        queries: float32 [m, d].
        vectors: [n, d], float32 or bfloat16.
        query_rows: int64 [p].
        seed_rows: int64 [p].

    Returns:
        float32 [p].
    """
    similarity = np.empty(len(query_rows), np.float32)
    step = max(1, _BLOCK_ELEMENTS // (4 * queries.shape[1]))
    for start in range(0, len(query_rows), step):
        part = slice(start, start + step)
        products = queries[query_rows[part]].astype(np.float64)
        # Cast while multiplying: a second float64 array takes three times as long.
        products *= vectors[seed_rows[part]].astype(np.float32, copy=False)
        similarity[part] = products.sum(axis=-1)
    return similarity


def keep_above(
    queries: np.ndarray,
    vectors: np.ndarray,
    query_rows: np.ndarray,
    seed_rows: np.ndarray,
    threshold: float,
) -> Pairs:
    """Rescore candidate pairs and keep those above the threshold, in order.

    Args:
        queries: float32 [m, d].
        vectors: [n, d], float32 or bfloat16.
        query_rows: int64 [p], candidates.
        seed_rows: int64 [p], candidates.
        threshold: similarity that a pair must exceed.
    """
    similarity = rescore(queries, vectors, query_rows, seed_rows)
    # A float64 scalar: NumPy rounds a Python float to float32, so that a caller who
    # compares `float(similarity) > threshold` would disagree at the threshold.
    kept = np.flatnonzero(similarity > np.float64(threshold))
    return in_order(Pairs(query_rows[kept], seed_rows[kept], similarity[kept]))


def in_order(pairs: Pairs) -> Pairs:
    """Order pairs by (query row, seed row)."""
    order = np.lexsort((pairs.seed_rows, pairs.query_rows))
    return Pairs(*(column[order] for column in pairs))


def join(parts: list[Pairs]) -> Pairs:
    """Concatenate pairs of ascending, disjoint blocks of queries."""
    if not parts:
        empty = np.empty(0, np.int64)
        return Pairs(empty, empty, np.empty(0, np.float32))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def find(
    queries: np.ndarray,
    vectors: np.ndarray,
    threshold: float,
    k: int | None,
    check: Check = proceed,
) -> Pairs:
    """Find all pairs with similarity > threshold, or each query's best `k` of them."""
    if k is None:
        return pairs_above(queries, vectors, threshold, check)
    return top_above(queries, vectors, k, threshold, check)


def pairs_above(
    queries: np.ndarray,
    vectors: np.ndarray,
    threshold: float,
    check: Check = proceed,
) -> Pairs:
    """Find all pairs with similarity > threshold, by blocked matrix products.

    BLAS only finds candidates (its last bits depend on the shape of the block).

    Args:
        queries: float32 [m, d], unit norm.
        vectors: [n, d], unit norm, float32 or bfloat16; may be memory-mapped.
        threshold: similarity that a pair must exceed.
        check: see `Check`.
    """
    bound = np.float32(threshold - float32_margin(queries.shape[1]))
    parts = []
    for first in range(0, len(queries), _BLOCK_QUERIES):
        block = queries[first : first + _BLOCK_QUERIES]
        found = [
            (rows, columns + offset)
            for offset, scores in _score_blocks(block, vectors, check)
            for rows, columns in [np.nonzero(scores > bound)]
            if rows.size
        ]
        if found:
            rows, columns = (np.concatenate(side) for side in zip(*found, strict=True))
            pairs = keep_above(block, vectors, rows, columns, threshold)
            parts.append(pairs._replace(query_rows=pairs.query_rows + first))
    return join(parts)


def best(pairs: Pairs, k: int) -> Pairs:
    """Keep each query's `k` best, ordered by (query row, best first, seed row)."""
    order = np.lexsort((pairs.seed_rows, -pairs.similarity, pairs.query_rows))
    ranks = np.arange(len(order)) - np.searchsorted(
        pairs.query_rows[order], pairs.query_rows[order]
    )
    return Pairs(*(column[order[ranks < k]] for column in pairs))


def top_above(
    queries: np.ndarray,
    vectors: np.ndarray,
    k: int,
    threshold: float,
    check: Check = proceed,
) -> Pairs:
    """Find each query's `k` best pairs with similarity > threshold.

    Memory grows with `k` and not with the number of pairs (ties aside).

    Args:
        queries: float32 [m, d], unit norm.
        vectors: [n, d], unit norm, float32 or bfloat16; may be memory-mapped.
        k: maximum number of pairs per query.
        threshold: similarity that a pair must exceed; may be -inf.
        check: see `Check`.

    Returns:
        Pairs in the order of `best`.
    """
    parts = []
    for first in range(0, len(queries), _BLOCK_QUERIES):
        block = queries[first : first + _BLOCK_QUERIES]
        rows, columns = _top_candidates(block, vectors, k, threshold, check)
        pairs = best(keep_above(block, vectors, rows, columns, threshold), k)
        parts.append(pairs._replace(query_rows=pairs.query_rows + first))
    return join(parts)


def _top_candidates(
    queries: np.ndarray, vectors: np.ndarray, k: int, threshold: float, check: Check
) -> tuple[np.ndarray, np.ndarray]:
    """Find query and seed rows that include each query's best `k`, and few more."""
    margin = float32_margin(queries.shape[1])
    bound = np.full(len(queries), threshold - margin, np.float32)
    held = Pairs(*(np.empty(0, kind) for kind in (np.int64, np.int64, np.float32)))
    for offset, scores in _score_blocks(queries, vectors, check):
        if offset == 0 and scores.shape[1] >= k:
            # The k-th best of some is a lower bound of the k-th best of all.
            some = scores[:, : max(k, _BOUND_SEEDS)]
            last = np.partition(some, -k, axis=1)[:, -k]
            bound = np.maximum(bound, last - np.float32(2 * margin))
        rows, columns = np.nonzero(scores > bound[:, None])
        fresh = Pairs(rows, columns + offset, scores[rows, columns])
        held = join([held, fresh])
        if len(held.similarity) > 4 * k * len(queries):
            held = _drop_low(held, k, bound, 2 * margin)
    return held.query_rows, held.seed_rows


def _drop_low(held: Pairs, k: int, bound: np.ndarray, slack: float) -> Pairs:
    """Raise each query's bound, in place, to `slack` below its k-th best; drop lower.

    The slack is there because BLAS may have rounded the true k-th best down.
    """
    order = np.lexsort((-held.similarity, held.query_rows))
    rows, scores = held.query_rows[order], held.similarity[order]
    last = np.flatnonzero(np.arange(len(rows)) - np.searchsorted(rows, rows) == k - 1)
    bound[rows[last]] = np.maximum(bound[rows[last]], scores[last] - np.float32(slack))
    kept = held.similarity > bound[held.query_rows]
    return Pairs(*(column[kept] for column in held))


def top_rows(
    queries: np.ndarray, vectors: np.ndarray, own_rows: np.ndarray, count: int
) -> np.ndarray:
    """Find each query's nearest seeds, except for itself.

    Args:
        queries: float32 [m, d].
        vectors: float32 [n, d], n > count.
        own_rows: int64 [m], the seed row that is the query itself, or -1.
        count: number of seeds to find.

    Returns:
        int64 [m, count], in no particular order. Which of several equal seeds comes
        last depends on rounding, which is good enough to tune with.
    """
    best = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for offset, scores in _score_blocks(queries, vectors):
        mine = own_rows - offset
        inside = np.flatnonzero((mine >= 0) & (mine < scores.shape[1]))
        scores[inside, mine[inside]] = -np.inf
        columns = np.broadcast_to(np.arange(scores.shape[1]) + offset, scores.shape)
        best = np.concatenate([best, scores], axis=1)
        rows = np.concatenate([rows, columns], axis=1)
        keep = np.argpartition(-best, count - 1, axis=1)[:, :count]
        best = np.take_along_axis(best, keep, axis=1)
        rows = np.take_along_axis(rows, keep, axis=1)
    return rows


def _score_blocks(
    queries: np.ndarray, vectors: np.ndarray, check: Check = proceed
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first seed row, float32 [m, block] scores) over all seeds."""
    step = max(1, _BLOCK_ELEMENTS // max(1, len(queries)))
    for offset in range(0, len(vectors), step):
        check()
        block = vectors[offset : offset + step].astype(np.float32, copy=False)
        yield offset, queries @ block.T
