"""Recall and speed of an index at several settings, beside exact search."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from index_service.build.tune import DEPTHS, LEAF_SHARES, visits
from index_service.search import exact
from index_service.search.exact import Pairs
from index_service.search.open_index import Index
from index_service.search.scann_index import ScannSettings
from index_service.search.searcher import Searcher
from index_service.search.sharded import ShardedSearcher

_BATCH = 256


class Row(NamedTuple):
    """One way to search.

    Attributes:
        settings: in words; `*` marks the index as it was built.
        recall: share of the pairs of exact search; NaN where there are none.
        queries_per_s: in batches of 256, on all cores.
        ratio: to exact search.
    """

    settings: str
    recall: float
    queries_per_s: float
    ratio: float


def compare(index: Index, queries: np.ndarray, threshold: float) -> list[Row]:
    """Search by exact search, as built, and around the settings of the build.

    Args:
        index: of any kind; truth is what exact search finds in its stored vectors.
        queries: float32 [m, d], unit norm, m > 0.
        threshold: similarity that a pair must exceed.

    Raises:
        InputError: as `Searcher.pairs_above`.
    """
    truth, seconds = _timed(
        partial(index.exact_pairs_above, threshold=threshold), queries
    )
    rows = [Row("exact", 1.0, len(queries) / seconds, 1.0)]
    for name, option in _options(index):
        found, took = _timed(partial(option.pairs_above, threshold=threshold), queries)
        share = (
            _common(found, truth) / len(truth.similarity) if len(truth[0]) else np.nan
        )
        rows.append(Row(name, share, len(queries) / took, seconds / took))
    return rows


def format_rows(rows: Sequence[Row]) -> str:
    """Lay out a table."""
    width = max(len(row.settings) for row in rows)
    lines = [f"{'settings':<{width}}  pair recall  queries/s  x exact"]
    lines += [
        f"{r.settings:<{width}}  {r.recall:>11.4f}  {r.queries_per_s:>9,.0f}  "
        f"{r.ratio:>7.2f}"
        for r in rows
    ]
    return "\n".join(lines)


def _timed(
    search: Callable[[np.ndarray], Pairs], queries: np.ndarray
) -> tuple[Pairs, float]:
    """Search in batches by the clock; a batch before it warms up."""
    search(queries[:_BATCH])
    parts = []
    began = time.perf_counter()
    for start in range(0, len(queries), _BATCH):
        pairs = search(queries[start : start + _BATCH])
        parts.append(pairs._replace(query_rows=pairs.query_rows + start))
    return exact.join(parts), time.perf_counter() - began


def _common(found: Pairs, truth: Pairs) -> int:
    keys = [set(zip(p[0].tolist(), p[1].tolist(), strict=True)) for p in (found, truth)]
    return len(keys[0] & keys[1])


def _options(index: Index) -> Iterator[tuple[str, Index]]:
    """Yield the index as built, then with other leaves visited, then other depths."""
    parts = index.shards if isinstance(index, ShardedSearcher) else [index]
    built = next((p.manifest.settings for p in parts if p.manifest.settings), None)
    if built is None:
        return
    yield f"{_words(built, len(parts))} *", index
    changes = [partial(_deep, depth=depth) for depth in DEPTHS]
    if built.leaves:
        changes = [partial(_visiting, share=s) for s in LEAF_SHARES] + changes
    for change in changes:
        if change(built) != built:
            yield _words(change(built), len(parts)), _changed(index, change)


def _visiting(settings: ScannSettings, share: float) -> ScannSettings:
    return replace(settings, leaves_to_search=visits(settings.leaves, share))


def _deep(settings: ScannSettings, depth: int) -> ScannSettings:
    return replace(settings, depth=depth)


def _changed(index: Index, change: Callable[[ScannSettings], ScannSettings]) -> Index:
    """Give the index with other settings."""
    if isinstance(index, ShardedSearcher):
        return ShardedSearcher([_with_settings(s, change) for s in index.shards])
    return _with_settings(index, change)


def _with_settings(
    searcher: Searcher, change: Callable[[ScannSettings], ScannSettings]
) -> Searcher:
    settings = searcher.manifest.settings
    return searcher if settings is None else searcher.tuned(change(settings))


def _words(settings: ScannSettings, shards: int) -> str:
    note = f" (one of {shards} shards)" if shards > 1 else ""
    return settings.words() + note
