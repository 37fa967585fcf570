"""Build the seed index: check, sort, train, tune, write."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from index_service import store
from index_service.audit import EXACT_BASIS, draw_sample
from index_service.embeddings import check_matrix, check_queries, first_bad_row
from index_service.scann_index import ScannIndex, ScannSettings
from index_service.store import IndexManifest
from index_service.tune import Audit, Goal, tune
from transforms.elements import Reject

_SCANN_MIN_SEEDS = 16


@dataclass(frozen=True)
class IndexConfig:
    """How to build.

    Attributes:
        exact_below: fewer seeds than this are searched exactly.
        tree_from: from this many seeds ScaNN partitions them into a tree.
        target_recall: share of the pairs above the threshold to find.
        recall_margin: how much more the tuning half of the sample must show.
        sample_size: queries to measure recall with, of each source.
    """

    exact_below: int = 20_000
    tree_from: int = 100_000
    target_recall: float = 0.99
    recall_margin: float = 0.002
    sample_size: int = 1_000


def build_index(
    directory: Path,
    ids: Sequence[str],
    embeddings: np.ndarray,
    embedder_id: str,
    threshold: float,
    queries: np.ndarray | None,
    config: IndexConfig,
) -> IndexManifest:
    """Build an index and write it to a directory.

    Rows are ordered by id, so that the index does not depend on the order of arrival.

    Args:
        directory: created; must not hold an index (the remains of a build that did
            not finish are replaced).
        ids: n distinct ids without line breaks.
        embeddings: float32 [n, d], unit norm.
        embedder_id: what made the embeddings.
        threshold: similarity above which pairs will be asked for.
        queries: float32 [m, d], unit norm, a sample of what will be searched for.
        config: see `IndexConfig`.

    Raises:
        Reject: `index_exists`, `not_empty`, `empty_index`, `bad_id`, `duplicate_id`,
            `wrong_shape`, `wrong_dtype`, `not_finite`, `zero_norm` or `not_unit_norm`.
    """
    check_seeds(ids, embeddings)
    if queries is not None:
        check_queries(queries, embeddings.shape[1])
    _make_room(directory)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    vectors = np.ascontiguousarray(embeddings[order])
    store.write_arrays(directory, [ids[row] for row in order], vectors)
    settings, audit = _train(directory, vectors, queries, threshold, config)
    manifest = IndexManifest(
        store.FORMAT_VERSION,
        "scann" if settings else "exact",
        embedder_id,
        vectors.shape[1],
        vectors.shape[0],
        threshold,
        settings,
        audit,
        store.list_files(directory),
    )
    store.write_manifest(directory, manifest)
    return manifest


def check_seeds(ids: Sequence[str], embeddings: np.ndarray) -> None:
    """Refuse seeds that cannot be indexed, naming the first bad one.

    Raises:
        Reject: see `build_index`.
    """
    if not len(ids):
        raise Reject("empty_index", "no seed to index; check what became of the seeds")
    check_matrix(embeddings)
    if len(embeddings) != len(ids):
        raise Reject("wrong_shape", f"{len(ids)} ids for {len(embeddings)} embeddings")
    seen: set[str] = set()
    for seed_id in ids:
        if not seed_id or "\n" in seed_id:
            raise Reject("bad_id", f"seed id {seed_id!r} is empty or has a line break")
        if seed_id in seen:
            raise Reject("duplicate_id", f"seed id {seed_id!r} occurs twice")
        seen.add(seed_id)
    bad = first_bad_row(embeddings)
    if bad is not None:
        row, reason = bad
        raise Reject(
            reason,
            f"the embedding of seed {ids[row]!r} (row {row}) is no finite unit vector "
            f"({reason}); drop the seed or normalise it",
        )


def _make_room(directory: Path) -> None:
    """Create the directory, or empty it of a build that did not finish."""
    if (directory / store.MANIFEST).exists():
        raise Reject("index_exists", f"{directory} holds an index; choose another")
    shutil.rmtree(directory / store.SCANN, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.name not in (store.VECTORS, store.IDS, f".{store.MANIFEST}.tmp"):
            raise Reject("not_empty", f"{directory} holds {path.name}; choose another")
        path.unlink()


def _train(
    directory: Path,
    vectors: np.ndarray,
    queries: np.ndarray | None,
    threshold: float,
    config: IndexConfig,
) -> tuple[ScannSettings | None, Audit]:
    """Train and tune ScaNN and write it, where exact search is not the better choice.

    ScaNN's own brute force is not tried: with bfloat16 it measured slower than exact
    search by BLAS.
    """
    count = len(vectors)
    if count < max(config.exact_below, _SCANN_MIN_SEEDS):
        return None, Audit(1.0, EXACT_BASIS)
    leaves = round(math.sqrt(count)) if count >= config.tree_from else 0
    index = ScannIndex.train(vectors, leaves)
    sample = draw_sample(vectors, queries, threshold, config.sample_size)
    goal = Goal(threshold, config.target_recall, config.recall_margin)
    settings, audit = tune(index, vectors, sample, goal)
    if settings is not None:
        (directory / store.SCANN).mkdir()
        index.save(directory / store.SCANN)
    return settings, audit
