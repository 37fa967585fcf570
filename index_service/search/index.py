"""What every opened index can do, whole or in shards."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from index_service.search.exact import Pairs
from index_service.search.matches import Matches
from index_service.store.index_directory import IndexManifest
from index_service.store.tuning import ScannSettings


class Index(Protocol):
    """An index in this process; `open_index` returns one.

    Attributes:
        manifest: what the index is; of all shards together.
        ids: seed id by seed row.
    """

    manifest: IndexManifest
    ids: list[str]

    @property
    def version(self) -> str:
        """The name of the content, see `IndexManifest.version`."""

    @property
    def parts(self) -> Sequence["Index"]:
        """The shards of the index; of one that is not sharded, itself."""

    def pairs_above(self, queries: np.ndarray, threshold: float) -> Pairs:
        """Find the pairs with similarity > threshold, see `Searcher.pairs_above`."""

    def exact_pairs_above(self, queries: np.ndarray, threshold: float) -> Pairs:
        """Find all pairs with similarity > threshold, to measure recall with."""

    def search(self, queries: np.ndarray, k: int, threshold: float | None) -> Matches:
        """Find the best k seeds of each query, see `Searcher.search`."""

    def find(self, queries: np.ndarray, threshold: float, k: int | None) -> Pairs:
        """Find pairs for queries that are known to be valid, see `Searcher.find`."""

    def tuned(self, change: Callable[[ScannSettings], ScannSettings]) -> "Index":
        """Return the same index with other ScaNN settings."""
