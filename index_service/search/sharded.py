"""All shards of an index in one process; their answers are those of a whole index."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clipseed.errors import InputError
from index_service.search import exact
from index_service.search.exact import Pairs
from index_service.search.matches import Matches, merge_matches
from index_service.search.searcher import Searcher, check_embedder, load_index
from index_service.store import index_directory
from index_service.store.embeddings import check_queries
from index_service.store.index_directory import IndexManifest
from index_service.store.shards import is_shard_name, shard_name
from index_service.store.tuning import ScannSettings


class ShardedSearcher:
    """The shards of one build as one `Index`.

    Attributes:
        manifest: of the whole index: sums, and the worst recall of the shards.
        ids: all seed ids in order; seed rows refer to these.
        shards: the shards.
    """

    def __init__(self, shards: Sequence[Searcher]) -> None:
        self.shards = list(shards)
        self.manifest = _whole([shard.manifest for shard in shards])
        lengths = np.cumsum([0] + [len(shard.ids) for shard in shards])
        joined = [seed_id for shard in shards for seed_id in shard.ids]
        order = np.array(sorted(range(len(joined)), key=joined.__getitem__), np.int64)
        self.ids = [joined[row] for row in order]
        rows = np.empty(len(order), np.int64)
        rows[order] = np.arange(len(order))
        self._rows = np.split(rows, lengths[1:-1])

    @property
    def version(self) -> str:
        """The name of the content of all shards."""
        return self.manifest.version

    @property
    def parts(self) -> Sequence[Searcher]:
        """The shards."""
        return self.shards

    def tuned(
        self, change: Callable[[ScannSettings], ScannSettings]
    ) -> "ShardedSearcher":
        """Return the same index with other ScaNN settings in every shard."""
        return ShardedSearcher([shard.tuned(change) for shard in self.shards])

    def pairs_above(self, queries: np.ndarray, threshold: float) -> Pairs:
        """Find the pairs with similarity > threshold, see `Searcher.pairs_above`."""
        return self._join(lambda shard: shard.pairs_above(queries, threshold))

    def exact_pairs_above(self, queries: np.ndarray, threshold: float) -> Pairs:
        """Find all pairs with similarity > threshold, to measure recall with."""
        return self._join(lambda shard: shard.exact_pairs_above(queries, threshold))

    def search(self, queries: np.ndarray, k: int, threshold: float | None) -> Matches:
        """Find the best k seeds of each query, see `Searcher.search`."""
        return merge_matches([s.search(queries, k, threshold) for s in self.shards], k)

    def find(self, queries: np.ndarray, threshold: float, k: int | None) -> Pairs:
        """Find pairs for queries that are known to be valid; with k only the best."""
        check_queries(queries, self.manifest.dimension)
        pairs = self._join(lambda shard: shard.find(queries, threshold, k))
        return pairs if k is None else exact.best(pairs, k)

    def _join(self, search: Callable[[Searcher], Pairs]) -> Pairs:
        """Search every shard; turn its seed rows into those of the whole index."""
        parts = []
        for shard, rows in zip(self.shards, self._rows, strict=True):
            pairs = search(shard)
            parts.append(pairs._replace(seed_rows=rows[pairs.seed_rows]))
        return exact.in_order(exact.join(parts))


def load_shards(
    directory: Path, embedder_id: str | None = None, dimension: int | None = None
) -> ShardedSearcher:
    """Verify and open all shards in a directory.

    Raises:
        InputError: `damaged_index` (a shard is missing, damaged, or of another build;
            the message names it), or `embedder_mismatch`.
    """
    names = sorted(p.name for p in directory.iterdir() if is_shard_name(p.name))
    first = index_directory.read_manifest(directory / names[0])
    check_embedder(first, directory / names[0], embedder_id, dimension)
    wanted = [shard_name(shard, first.shards) for shard in range(first.shards)]
    for name in wanted:
        if name not in names:
            raise _damaged(directory / name, "is missing")
    for name in set(names) - set(wanted):
        raise _damaged(directory / name, f"does not belong to {first.shards} shards")
    for shard, name in enumerate(wanted):
        _check_same_build(directory / name, shard, first)
    return ShardedSearcher([load_index(directory / name) for name in wanted])


def _check_same_build(directory: Path, shard: int, first: IndexManifest) -> None:
    manifest = index_directory.read_manifest(directory)
    want = (first.embedder_id, first.dimension, first.build, first.shards, shard)
    have = (
        manifest.embedder_id,
        manifest.dimension,
        manifest.build,
        manifest.shards,
        manifest.shard,
    )
    names = ("embedder", "dimension", "build", "number of shards", "shard number")
    for name, wanted, held in zip(names, want, have, strict=True):
        if wanted != held:
            raise _damaged(
                directory / index_directory.MANIFEST,
                f"has {name} {held!r}, not {wanted!r}",
            )


def _damaged(path: Path, what: str) -> InputError:
    return InputError(
        "damaged_index", f"{path} {what}; put all shards of one build together"
    )


def _whole(manifests: Sequence[IndexManifest]) -> IndexManifest:
    """Combine the shards' manifests; each file is named with its shard."""
    worst = min(manifests, key=lambda manifest: manifest.audit.recall)
    kinds = {manifest.kind for manifest in manifests}
    return replace(
        manifests[0],
        kind="exact" if kinds == {"exact"} else "scann",
        count=sum(manifest.count for manifest in manifests),
        settings=None,
        audit=worst.audit,
        files=tuple(
            replace(entry, path=f"{shard_name(m.shard, m.shards)}/{entry.path}")
            for m in manifests
            for entry in m.files
        ),
        shard=0,
        shards=1,
        memory_bytes=sum(manifest.memory_bytes for manifest in manifests),
    )
