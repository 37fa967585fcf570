"""What a search finds: the best matches of each query, by seed id."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Hits(NamedTuple):
    """The matches of m queries, query after query, each query's best first.

    Equal similarities stand in the order of the ids.

    Attributes:
        counts: int64 [m], matches of each query.
        ids: seed id of each match.
        similarities: float32, exact dot product of each match.
        cut: bool [m], whether a query has more matches than the k that were asked for.
    """

    counts: np.ndarray
    ids: list[str]
    similarities: np.ndarray
    cut: np.ndarray


def merge_hits(parts: Sequence[Hits], k: int) -> Hits:
    """Join what shards found for the same queries: the best k of each query.

    Args:
        parts: at least one; disjoint sets of seeds, the same m queries.
        k: matches to keep a query.
    """
    queries = np.concatenate([_query_rows(part) for part in parts])
    ids = [seed_id for part in parts for seed_id in part.ids]
    similarities = np.concatenate([part.similarities for part in parts])
    order = sorted(
        range(len(ids)), key=lambda i: (queries[i], -similarities[i], ids[i])
    )
    totals = sum(part.counts for part in parts)
    counts = np.minimum(totals, k)
    starts = np.cumsum(totals) - totals
    rows = np.array(order, np.int64)
    best = np.concatenate(
        [rows[s : s + n] for s, n in zip(starts, counts, strict=True)] or [rows]
    )
    cut = np.any([part.cut for part in parts], axis=0) | (totals > k)
    return Hits(counts, [ids[i] for i in best], similarities[best], cut)


def _query_rows(part: Hits) -> np.ndarray:
    return np.repeat(np.arange(len(part.counts)), part.counts)


def slice_hits(hits: Hits, start: int, end: int) -> Hits:
    """The hits of the queries from `start` to before `end`."""
    bounds = np.concatenate([[0], np.cumsum(hits.counts)])
    rows = slice(int(bounds[start]), int(bounds[end]))
    queries = slice(start, end)
    return Hits(
        hits.counts[queries], hits.ids[rows], hits.similarities[rows], hits.cut[queries]
    )


def join_hits(parts: Sequence[Hits]) -> Hits:
    """Put the hits of different queries one after the other."""
    if not parts:
        none = np.zeros(0, np.int64)
        return Hits(none, [], np.zeros(0, np.float32), none.astype(bool))
    return Hits(
        np.concatenate([part.counts for part in parts]),
        [seed_id for part in parts for seed_id in part.ids],
        np.concatenate([part.similarities for part in parts]),
        np.concatenate([part.cut for part in parts]),
    )
