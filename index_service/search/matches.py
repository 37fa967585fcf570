"""What a search finds: the best matches of each query, by seed id."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Matches(NamedTuple):
    """The matches of m queries, query after query, each query's best first.

    Equal similarities are in the order of the ids.

    Attributes:
        counts: int64 [m], matches of each query.
        ids: seed id of each match.
        similarities: float32, exact dot product of each match.
        cut: bool [m], whether a query has more matches than the k asked for.
    """

    counts: np.ndarray
    ids: list[str]
    similarities: np.ndarray
    cut: np.ndarray


def merge_matches(parts: Sequence[Matches], k: int) -> Matches:
    """Merge the matches of shards for the same queries: the best k of each query.

    Args:
        parts: at least one; disjoint sets of seeds, the same m queries.
        k: maximum number of matches per query.
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
    return Matches(counts, [ids[i] for i in best], similarities[best], cut)


def _query_rows(part: Matches) -> np.ndarray:
    return np.repeat(np.arange(len(part.counts)), part.counts)


def slice_matches(matches: Matches, start: int, end: int) -> Matches:
    """Return the matches of the queries `[start, end)`."""
    bounds = np.concatenate([[0], np.cumsum(matches.counts)])
    rows = slice(int(bounds[start]), int(bounds[end]))
    queries = slice(start, end)
    return Matches(
        matches.counts[queries],
        matches.ids[rows],
        matches.similarities[rows],
        matches.cut[queries],
    )


def join_matches(parts: Sequence[Matches]) -> Matches:
    """Concatenate the matches of different queries."""
    if not parts:
        none = np.zeros(0, np.int64)
        return Matches(none, [], np.zeros(0, np.float32), none.astype(bool))
    return Matches(
        np.concatenate([part.counts for part in parts]),
        [seed_id for part in parts for seed_id in part.ids],
        np.concatenate([part.similarities for part in parts]),
        np.concatenate([part.cut for part in parts]),
    )
