"""An index in this process: load it, find pairs above a threshold."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clipseed.errors import InputError
from index_service.search import exact, scann_index
from index_service.search.exact import Check, Pairs, proceed
from index_service.search.matches import Matches
from index_service.search.scann_index import ScannIndex
from index_service.store import index_directory
from index_service.store.embeddings import check_queries
from index_service.store.index_directory import IndexManifest
from index_service.store.tuning import ScannSettings

# Beyond any similarity; a number that float32 cannot hold has no meaning as one.
_MAX_THRESHOLD = 2.0


class Searcher:
    """A loaded index; safe for use by several threads, but not for pickling.

    Attributes:
        manifest: what the index is.
        ids: seed id by seed row.
        vectors: [n, d], float32 or bfloat16, memory-mapped.
    """

    def __init__(
        self,
        manifest: IndexManifest,
        ids: list[str],
        vectors: np.ndarray,
        scann: ScannIndex | None,
    ) -> None:
        self.manifest = manifest
        self.ids = ids
        self.vectors = vectors
        self._scann = scann

    @property
    def version(self) -> str:
        """The name of the content, see `IndexManifest.version`."""
        return self.manifest.version

    @property
    def parts(self) -> Sequence["Searcher"]:
        """The index itself, because it is not sharded."""
        return [self]

    def pairs_above(self, queries: np.ndarray, threshold: float) -> Pairs:
        """Find the pairs with similarity > threshold.

        An exact index finds all of them; a ScaNN index finds the share that its
        manifest states for the threshold it was tuned for. No list is cut at a fixed
        length.

        Args:
            queries: float32 [m, d], unit norm.
            threshold: similarity that a pair must exceed.

        Returns:
            Query rows, seed rows and exact similarities, ordered by (query row, seed
            row); bit-identical for a query, alone or in any batch.

        Raises:
            InputError: a query is NaN, not of unit norm, or of another dimension.
        """
        check_queries(queries, self.manifest.dimension)
        return self.find(queries, threshold, None)

    def exact_pairs_above(self, queries: np.ndarray, threshold: float) -> Pairs:
        """Find all pairs with similarity > threshold, to measure recall with."""
        check_queries(queries, self.manifest.dimension)
        return exact.pairs_above(queries, self.vectors, threshold)

    def exact_best(self, queries: np.ndarray, k: int, threshold: float) -> Pairs:
        """Find each query's true best k pairs, to measure recall with."""
        check_queries(queries, self.manifest.dimension)
        return exact.top_above(queries, self.vectors, k, threshold)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        threshold: float | None,
        check: Check = proceed,
    ) -> Matches:
        """Find the best seeds of each query, among those that `pairs_above` finds.

        Args:
            queries: float32 [m, d], unit norm.
            k: maximum number of seeds per query.
            threshold: similarity that a match must exceed; None: the k nearest.
            check: see `exact.Check`.

        Raises:
            InputError: `bad_k`, `bad_threshold`, or as `pairs_above`.
        """
        check_request(k, threshold)
        check_queries(queries, self.manifest.dimension)
        bound = -np.inf if threshold is None else threshold
        # One more than is asked for, to see whether k cuts.
        pairs = self.find(queries, bound, k + 1, check)
        found = np.bincount(pairs.query_rows, minlength=len(queries))
        pairs = exact.best(pairs, k)
        ids = [self.ids[row] for row in pairs.seed_rows]
        return Matches(np.minimum(found, k), ids, pairs.similarity, found > k)

    def tuned(self, change: Callable[[ScannSettings], ScannSettings]) -> "Searcher":
        """Return the same index with other ScaNN settings; an exact one as it is."""
        if self.manifest.settings is None:
            return self
        manifest = replace(self.manifest, settings=change(self.manifest.settings))
        return Searcher(manifest, self.ids, self.vectors, self._scann)

    def find(
        self,
        queries: np.ndarray,
        threshold: float,
        k: int | None,
        check: Check = proceed,
    ) -> Pairs:
        """Find pairs for queries that are known to be valid; with k only the best."""
        settings = self.manifest.settings
        if self._scann is None or settings is None:
            return exact.find(queries, self.vectors, threshold, k, check)
        return scann_index.pairs_above(
            self._scann, self.vectors, queries, threshold, settings, k, check
        )


def check_request(k: int, threshold: float | None) -> None:
    """Check k and the threshold of a search.

    Raises:
        InputError: `bad_k` or `bad_threshold`.
    """
    if k < 1:
        raise InputError("bad_k", f"k is {k}; ask for at least 1 seed per query")
    if threshold is not None and not abs(threshold) <= _MAX_THRESHOLD:
        raise InputError(
            "bad_threshold",
            f"the threshold is {threshold}; use a cosine similarity, from -1 to 1",
        )


def load_index(
    directory: Path, embedder_id: str | None = None, dimension: int | None = None
) -> Searcher:
    """Verify an index directory and open it.

    Args:
        directory: what `build_index` wrote; it may have been moved.
        embedder_id: the embedder of the queries; not compared when None.
        dimension: d of the queries; not compared when None.

    Raises:
        InputError: `damaged_index` (the message names the file), or
            `embedder_mismatch`.
    """
    manifest = index_directory.read_manifest(directory)
    check_embedder(manifest, directory, embedder_id, dimension)
    index_directory.verify(directory, manifest)
    ids, vectors = index_directory.read_arrays(directory, manifest)
    scann = None
    if manifest.settings is not None:
        scann = ScannIndex.load(directory / index_directory.SCANN, manifest.settings)
    return Searcher(manifest, ids, vectors, scann)


def check_embedder(
    manifest: IndexManifest,
    directory: Path,
    embedder_id: str | None,
    dimension: int | None,
) -> None:
    """Check that an index has the embedder and dimension of the queries.

    Raises:
        InputError: `embedder_mismatch`.
    """
    asked = (embedder_id, dimension)
    held = (manifest.embedder_id, manifest.dimension)
    for want, have in zip(asked, held, strict=True):
        if want is not None and want != have:
            raise InputError(
                "embedder_mismatch",
                f"the index in {directory} was built with {have!r}, but the queries "
                f"come from {want!r}; use that embedder or build the index again",
            )
