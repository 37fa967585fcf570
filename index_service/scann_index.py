"""ScaNN: train, save, load, and find candidate pairs that exact scoring then judges."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index_service import exact

MAX_DEPTH = 1024
_QUERIES_A_BLOCK = 1024
_WIDEN = 4
# bfloat16 keeps 8 significant bits: a unit vector moves by at most 2**-9, and query
# and seed may both be rounded.
_BFLOAT16_MARGIN = 2.0**-8
_AH_ANISOTROPY = 0.2
_AH_BLOCK_DIMS = 2


@dataclass(frozen=True)
class ScannSettings:
    """How ScaNN searches.

    Attributes:
        leaves: partitions of the tree; 0 for none (every code is scored).
        leaves_to_search: partitions visited by a query; 0 without a tree.
        depth: candidates that are scored anew in bfloat16 and handed out.
    """

    leaves: int
    leaves_to_search: int
    depth: int


class ScannIndex:
    """A trained ScaNN searcher.

    Asymmetric hashing (2 dimensions a block) finds `depth` candidates, ScaNN orders
    them by a bfloat16 copy of the vectors.
    """

    def __init__(self, native: Any, leaves: int) -> None:
        self._native = native
        self.leaves = leaves

    @classmethod
    def train(cls, vectors: np.ndarray, leaves: int) -> "ScannIndex":
        """Train on float32 [n, d] unit vectors, n >= 16; `leaves` 0 means no tree.

        The same input gives the same files: ScaNN's random initialisation differs from
        build to build, its k-means++ does not; one training thread excludes races.
        """
        from scann.scann_ops.py import scann_ops_pybind
        from scann.scann_ops.py.scann_builder import ReorderType

        builder = scann_ops_pybind.builder(vectors, MAX_DEPTH, "dot_product")
        builder = builder.set_n_training_threads(1)
        if leaves:
            builder = builder.tree(leaves, leaves, random_init=False)
        builder = builder.score_ah(
            _AH_BLOCK_DIMS, anisotropic_quantization_threshold=_AH_ANISOTROPY
        )
        builder = builder.reorder(MAX_DEPTH, quantize=ReorderType.BFLOAT16)
        return cls(builder.build(), leaves)

    @classmethod
    def load(cls, directory: Path, leaves: int) -> "ScannIndex":
        """Load what `save` wrote."""
        from scann.scann_ops.py import scann_ops_pybind

        return cls(scann_ops_pybind.load_searcher(str(directory)), leaves)

    def save(self, directory: Path) -> None:
        """Write into an existing directory; it can be moved afterwards."""
        self._native.serialize(str(directory), relative_path=True)

    def candidates(
        self, queries: np.ndarray, leaves_to_search: int, depth: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find up to `depth` seeds a query.

        Args:
            queries: float32 [m, d], finite.
            leaves_to_search: ignored without a tree.
            depth: candidates a query.

        Returns:
            int64 [m, k] seed rows and float32 [m, k] approximate similarities, k at
            most `depth`; a place that ScaNN could not fill has a NaN score.
        """
        # Batches of one: ScaNN's kernels for larger batches round differently, and a
        # candidate list must not depend on which other frames stood beside the query.
        rows, scores = self._native.search_batched_parallel(
            np.ascontiguousarray(queries),
            depth,
            depth,
            leaves_to_search if self.leaves else None,
            batch_size=1,
        )
        return rows.astype(np.int64), scores


def pairs_above(
    index: ScannIndex,
    vectors: np.ndarray,
    queries: np.ndarray,
    threshold: float,
    settings: ScannSettings,
    k: int | None = None,
) -> exact.Pairs:
    """Find the pairs with similarity > threshold among ScaNN's candidates.

    Args:
        index: trained on `vectors`.
        vectors: float32 [n, d].
        queries: float32 [m, d].
        threshold: similarity that a pair must exceed; may be -inf where `k` is given.
        settings: where the search starts; full lists are searched again, deeper.
        k: only the best so many pairs of each query; None for all.

    Returns:
        Ordered by (query row, seed row); with `k` as `exact.best` orders them.
    """
    parts = []
    for first in range(0, len(queries), _QUERIES_A_BLOCK):
        block = queries[first : first + _QUERIES_A_BLOCK]
        pairs = _block_pairs(index, vectors, block, threshold, settings, k)
        parts.append(pairs._replace(query_rows=pairs.query_rows + first))
    return exact.join(parts)


def _block_pairs(
    index: ScannIndex,
    vectors: np.ndarray,
    queries: np.ndarray,
    threshold: float,
    settings: ScannSettings,
    k: int | None,
) -> exact.Pairs:
    """Search one block, widening the queries whose list is cut.

    Hashing orders candidates only roughly, so that a list loses pairs before it is
    full: one that is more than half hits counts as cut. Past `MAX_DEPTH` the query is
    searched exactly.
    """
    bound = threshold - _BFLOAT16_MARGIN - exact.float32_margin(queries.shape[1])
    pending = np.arange(len(queries))
    leaves, depth = settings.leaves_to_search, settings.depth
    found = []
    while pending.size and depth <= MAX_DEPTH:
        rows, scores = index.candidates(queries[pending], leaves, depth)
        hits = scores > bound
        cut = _is_cut(hits.sum(axis=1), depth, threshold, k, len(vectors))
        hits[cut] = False
        places, columns = np.nonzero(hits)
        found.append((pending[places], rows[places, columns]))
        pending = pending[cut]
        leaves, depth = min(leaves * _WIDEN, settings.leaves), depth * _WIDEN
    if pending.size:
        rest = _search_exactly(queries[pending], vectors, threshold, k)
        found.append((pending[rest.query_rows], rest.seed_rows))
    query_rows, seed_rows = (np.concatenate(side) for side in zip(*found, strict=True))
    pairs = exact.keep_above(queries, vectors, query_rows, seed_rows, threshold)
    return pairs if k is None else exact.best(pairs, k)


def _is_cut(
    hits: np.ndarray, depth: int, threshold: float, k: int | None, count: int
) -> np.ndarray:
    """Tell which queries have to be searched deeper, from int [m] hits among `depth`.

    Twice the k that are wanted are deep enough. Where the nearest are asked for without
    a threshold, the leaves visited may also hold too few seeds.
    """
    if k is None:
        return 2 * hits > depth
    short = hits < min(k, count) if threshold == -np.inf else np.zeros_like(hits, bool)
    return short | ((2 * hits > depth) & (depth < 2 * k))


def _search_exactly(
    queries: np.ndarray, vectors: np.ndarray, threshold: float, k: int | None
) -> exact.Pairs:
    if k is None:
        return exact.pairs_above(queries, vectors, threshold)
    return exact.top_above(queries, vectors, k, threshold)
