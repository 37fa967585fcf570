"""ScaNN: train, save, load, and find candidate pairs that are then scored exactly."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np

from index_service.search import exact
from index_service.store.tuning import Reorder, ScannSettings

MAX_DEPTH = 1024
_BLOCK_QUERIES = 1024
_WIDEN = 4
_LIST_PER_K = 16
# bfloat16 keeps 8 significant bits: a unit vector moves by at most 2**-9, and query
# and seed may both be rounded.
_BFLOAT16_MARGIN = 2.0**-8
_AH_ANISOTROPY = 0.2
# Every seed is in two leaves (ScaNN's SOAR), the second chosen for the queries that
# miss the first: at equal recall only a third of the leaves need to be visited.
SPILL = 2
_SOAR_LAMBDA = 1.5
# absl::SetMinLogLevel(LogSeverityAtLeast), of the absl that ScaNN 1.4.2 is built with.
_SET_MIN_LOG_LEVEL = "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE"
_LOG_ERRORS = 2


def _scann() -> Any:
    """Import ScaNN, whose native library then logs errors alone.

    It writes what it does on stderr, and no environment variable keeps it from that.
    """
    from scann.scann_ops.py import scann_ops_pybind

    library = ctypes.CDLL(scann_ops_pybind.scann_pybind.__file__)
    getattr(library, _SET_MIN_LOG_LEVEL)(_LOG_ERRORS)
    return scann_ops_pybind


class ScannIndex:
    """A trained ScaNN searcher.

    Asymmetric hashing finds candidates, in a tree of leaves or among all seeds.

    Attributes:
        leaves: see `ScannSettings`.
        reorder: see `ScannSettings`.
        block_dims: see `ScannSettings`.
    """

    def __init__(
        self, native: Any, leaves: int, reorder: Reorder, block_dims: int
    ) -> None:
        self._native = native
        self.leaves = leaves
        self.reorder = reorder
        self.block_dims = block_dims

    @classmethod
    def train(
        cls,
        vectors: np.ndarray,
        leaves: int,
        reorder: Reorder = "bfloat16",
        block_dims: int = 2,
    ) -> "ScannIndex":
        """Train on float32 [n, d] unit vectors, n >= 16; `leaves` 0 means no tree.

        The same input yields the same files: ScaNN's random initialization differs from
        build to build, its k-means++ does not, and one training thread has no races.
        """
        from scann.scann_ops.py.scann_builder import ReorderType

        builder = _scann().builder(vectors, MAX_DEPTH, "dot_product")
        builder = builder.set_n_training_threads(1)
        if leaves:
            builder = builder.tree(
                leaves,
                leaves,
                random_init=False,
                soar_lambda=_SOAR_LAMBDA,
                overretrieve_factor=SPILL,
            )
        builder = builder.score_ah(
            block_dims, anisotropic_quantization_threshold=_AH_ANISOTROPY
        )
        if reorder == "bfloat16":
            builder = builder.reorder(MAX_DEPTH, quantize=ReorderType.BFLOAT16)
        return cls(builder.build(), leaves, reorder, block_dims)

    @classmethod
    def load(cls, directory: Path, settings: ScannSettings) -> "ScannIndex":
        """Load what `save` wrote."""
        native = _scann().load_searcher(str(directory))
        return cls(native, settings.leaves, settings.reorder, settings.block_dims)

    def save(self, directory: Path) -> None:
        """Write to an existing directory, which can be moved afterwards."""
        self._native.serialize(str(directory), relative_path=True)

    def candidates(
        self, queries: np.ndarray, leaves_to_search: int, depth: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find up to `depth` seeds per query.

        Args:
            queries: float32 [m, d], finite.
            leaves_to_search: ignored without a tree.
            depth: candidates per query.

        Returns:
            int64 [m, k] seed rows and float32 [m, k] approximate similarities, k at
            most `depth`; a place that ScaNN could not fill has a NaN score.
        """
        # Batches of one: ScaNN's kernels for larger batches round differently, and a
        # query's candidates must not depend on the other queries of its batch.
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
    check: exact.Check = exact.proceed,
) -> exact.Pairs:
    """Find the pairs with similarity > threshold among ScaNN's candidates.

    Args:
        index: trained on `vectors`.
        vectors: float32 [n, d].
        queries: float32 [m, d].
        threshold: similarity that a pair must exceed; may be -inf where `k` is given.
        settings: where the search starts; a query whose list is full is searched again,
            deeper.
        k: maximum number of pairs per query, the best; None for all.
        check: see `exact.Check`.

    Returns:
        Ordered by (query row, seed row); with `k` as `exact.best` orders them.
    """
    parts = []
    for first in range(0, len(queries), _BLOCK_QUERIES):
        block = queries[first : first + _BLOCK_QUERIES]
        pairs = _block_pairs(index, vectors, block, threshold, settings, k, check)
        parts.append(pairs._replace(query_rows=pairs.query_rows + first))
    return exact.join(parts)


def _block_pairs(
    index: ScannIndex,
    vectors: np.ndarray,
    queries: np.ndarray,
    threshold: float,
    settings: ScannSettings,
    k: int | None,
    check: exact.Check,
) -> exact.Pairs:
    """Search one block; search deeper for the queries whose list is cut.

    Past `MAX_DEPTH` a query is searched exactly.
    """
    pending = np.arange(len(queries))
    leaves, depth = settings.leaves_to_search, settings.depth
    found = []
    while pending.size and depth <= MAX_DEPTH:
        check()
        pairs = _listed_pairs(
            index, vectors, queries[pending], threshold, leaves, depth
        )
        matches = np.bincount(pairs.query_rows, minlength=len(pending))
        cut = _is_cut(matches, depth, threshold, k, len(vectors))
        done = ~cut[pairs.query_rows]
        rows, seeds, similarity = (column[done] for column in pairs)
        found.append(exact.Pairs(pending[rows], seeds, similarity))
        pending = pending[cut]
        leaves, depth = min(leaves * _WIDEN, settings.leaves), depth * _WIDEN
    if pending.size:
        rest = exact.find(queries[pending], vectors, threshold, k, check)
        found.append(rest._replace(query_rows=pending[rest.query_rows]))
    pairs = exact.join(found)
    return exact.in_order(pairs) if k is None else exact.best(pairs, k)


def _listed_pairs(
    index: ScannIndex,
    vectors: np.ndarray,
    queries: np.ndarray,
    threshold: float,
    leaves_to_search: int,
    depth: int,
) -> exact.Pairs:
    """Score ScaNN's candidates exactly; keep the pairs above the threshold."""
    rows, scores = index.candidates(queries, leaves_to_search, depth)
    if index.reorder == "bfloat16":
        margin = _BFLOAT16_MARGIN + exact.float32_margin(queries.shape[1])
        places, columns = np.nonzero(scores > threshold - margin)
    else:
        places, columns = np.nonzero(~np.isnan(scores))
    return exact.keep_above(queries, vectors, places, rows[places, columns], threshold)


def _is_cut(
    matches: np.ndarray, depth: int, threshold: float, k: int | None, count: int
) -> np.ndarray:
    """Return bool [m]: which queries must be searched deeper.

    Hashing orders candidates only roughly, so a list loses pairs before it is full. One
    with more than half matches counts as cut, unless it is many times longer than the k
    wanted. Without a threshold, the leaves visited may also hold fewer than k seeds.

    Args:
        matches: int [m], matches among the `depth` candidates of each query.
        depth: length of the lists.
        threshold: similarity that a pair must exceed.
        k: pairs wanted per query; None for all.
        count: number of seeds.
    """
    if k is None:
        return 2 * matches > depth
    short = (
        matches < min(k, count)
        if threshold == -np.inf
        else np.zeros_like(matches, bool)
    )
    enough = min(_LIST_PER_K * k, max(2 * k, MAX_DEPTH))
    return short | ((2 * matches > depth) & (depth < enough))
