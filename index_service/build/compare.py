"""Compare recall and speed of an index at several settings with exact search."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from index_service.build.tune import DEPTHS, LEAF_SHARES, visits
from index_service.search import exact
from index_service.search.exact import Pairs
from index_service.search.index import Index
from index_service.store.tuning import ScannSettings

COLUMNS = ("settings", "pair recall", "queries/s", "x exact")
_BATCH = 256


class Row(NamedTuple):
    """One way to search.

    Attributes:
        settings: a description; `*` marks the settings of the build.
        recall: share of the pairs that exact search finds; NaN without such pairs.
        queries_per_s: in batches of 256, on all cores.
        ratio: speed relative to exact search.
    """

    settings: str
    recall: float
    queries_per_s: float
    ratio: float


def compare(index: Index, queries: np.ndarray, threshold: float) -> list[Row]:
    """Measure exact search, the settings of the build, and settings around them.

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
    """Format rows as a text table."""
    cells = [COLUMNS, *map(as_cells, rows)]
    width = max(len(settings) for settings, *_ in cells)
    return "\n".join(
        f"{settings:<{width}}  {recall:>11}  {speed:>9}  {ratio:>7}"
        for settings, recall, speed, ratio in cells
    )


def as_cells(row: Row) -> tuple[str, str, str, str]:
    """Return the cells of a row in the order of `COLUMNS`."""
    return (
        row.settings,
        f"{row.recall:.4f}",
        f"{row.queries_per_s:,.0f}",
        f"{row.ratio:.2f}",
    )


def _timed(
    search: Callable[[np.ndarray], Pairs], queries: np.ndarray
) -> tuple[Pairs, float]:
    """Search in batches and measure the time, after a batch to warm up."""
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
    parts = index.parts
    built = next((p.manifest.settings for p in parts if p.manifest.settings), None)
    if built is None:
        return
    yield f"{_words(built, len(parts))} *", index
    changes = [partial(_deep, depth=depth) for depth in DEPTHS]
    if built.leaves:
        changes = [partial(_visiting, share=s) for s in LEAF_SHARES] + changes
    for change in changes:
        if change(built) != built:
            yield _words(change(built), len(parts)), index.tuned(change)


def _visiting(settings: ScannSettings, share: float) -> ScannSettings:
    return replace(settings, leaves_to_search=visits(settings.leaves, share))


def _deep(settings: ScannSettings, depth: int) -> ScannSettings:
    return replace(settings, depth=depth)


def _words(settings: ScannSettings, shards: int) -> str:
    note = f" (one of {shards} shards)" if shards > 1 else ""
    return settings.words() + note
