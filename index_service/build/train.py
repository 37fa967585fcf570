"""Choose how an index is stored and searched: train, tune, or search exactly."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipseed.errors import InputError
from index_service.build.audit import EXACT_BASIS, Sample, draw_sample, lowest, measure
from index_service.build.tune import MIN_DEPTH, Goal, cost, tune
from index_service.search import exact
from index_service.search.exact import Pairs
from index_service.search.scann_index import ScannIndex
from index_service.store import footprint
from index_service.store.footprint import Storage, Vectors
from index_service.store.tuning import Audit, ScannSettings, Trial

# Coarse codes take half the time. Finer ones are tried when the coarse ones rank many
# wrong seeds before the right ones, so that longer lists are needed.
_COARSE_BLOCK_DIMS, _FINE_BLOCK_DIMS = 4, 2
# ScaNN requires 16, and with fewer there is no sample to measure recall with.
_MIN_SEEDS = 16


@dataclass(frozen=True)
class IndexConfig:
    """How to build an index.

    Attributes:
        exact_below: fewer seeds than this are searched exactly.
        tree_from: from this many seeds on, ScaNN partitions them into a tree.
        tree_sizes: numbers of leaves to try, as multiples of the square root of the
            number of seeds; 0 for no tree.
        target_recall: share of the pairs above the threshold to find.
        recall_margin: how much higher recall on the tuning half of the sample must be.
        sample_size: queries per source to measure recall with.
        trust_queries: whether the caller's queries decide alone, see `draw_sample`.
        vectors: types that vectors may be stored as, the preferred one first (a handful
            of seeds is always stored as float32).
        memory_limit_bytes: of a process that holds the index, or one shard of it.
    """

    exact_below: int = 20_000
    tree_from: int = 100_000
    tree_sizes: tuple[float, ...] = (1.0,)
    target_recall: float = 0.99
    recall_margin: float = 0.002
    sample_size: int = 1_000
    trust_queries: bool = False
    vectors: tuple[Vectors, ...] = ("float32",)
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class Trained:
    """The way of storing and searching that was chosen.

    Attributes:
        storage: how to store the index.
        settings: how ScaNN searches; None for exact search.
        audit: the recall measured.
        index: the trained index; None for exact search.
    """

    storage: Storage
    settings: ScannSettings | None
    audit: Audit
    index: ScannIndex | None


def train(
    ids: Sequence[str],
    vectors: np.ndarray,
    queries: np.ndarray | None,
    threshold: float,
    config: IndexConfig,
) -> Trained:
    """Train and tune ScaNN if it can be faster; otherwise, or if it fails, go exact.

    ScaNN's own brute force is not tried: with bfloat16 it was measured to be slower
    than exact search by BLAS.

    Args:
        ids: n seed ids.
        vectors: float32 [n, d], unit norm.
        queries: float32 [m, d], a sample of later queries, or None.
        threshold: similarity that a pair must exceed.
        config: see `IndexConfig`.

    Raises:
        InputError: `memory_limit` or `recall_out_of_reach`.
    """
    leaf_counts = _leaf_counts(len(ids), config)
    flat, scann = _storages(ids, vectors.shape[1], max(leaf_counts), config)
    if scann is None and flat == Storage("float32", None):
        return Trained(flat, None, Audit(1.0, EXACT_BASIS), None)
    sample = draw_sample(
        vectors, queries, threshold, config.sample_size, config.trust_queries
    )
    goal = Goal(threshold, config.target_recall, config.recall_margin)
    trials: tuple[Trial, ...] = ()
    if scann is not None:
        trained = _tuned(vectors, leaf_counts, scann, sample, goal)
        if trained.settings is not None:
            return trained
        trials = trained.audit.trials
    if flat is not None:
        audit = _audit_exact(vectors, flat, sample, goal, trials)
        if audit.recall >= config.target_recall or flat.vectors == "float32":
            return Trained(flat, None, audit, None)
    raise InputError(
        "recall_out_of_reach",
        f"no index within the memory limit finds {config.target_recall} of the pairs "
        f"above {threshold}; lower the target, raise the limit or store float32",
    )


def _leaf_counts(count: int, config: IndexConfig) -> tuple[int, ...]:
    if count < config.tree_from:
        return (0,)
    return tuple(round(size * math.sqrt(count)) for size in config.tree_sizes)


def _storages(
    ids: Sequence[str], dimension: int, leaves: int, config: IndexConfig
) -> tuple[Storage | None, Storage | None]:
    """Choose the best storages that fit: without ScaNN, and with it."""
    enough = len(ids) >= _MIN_SEEDS
    kinds: tuple[Vectors, ...] = config.vectors if enough else ("float32",)
    options = footprint.ways(kinds, enough and len(ids) >= config.exact_below)
    fits = footprint.fitting(ids, dimension, options, leaves, config.memory_limit_bytes)
    flat = next((storage for storage in fits if storage.reorder is None), None)
    return flat, next((storage for storage in fits if storage.reorder), None)


def _tuned(
    vectors: np.ndarray,
    leaf_counts: Sequence[int],
    storage: Storage,
    sample: Sample,
    goal: Goal,
) -> Trained:
    """Train an index for each number of leaves; keep the cheapest sufficient one."""
    best = Trained(storage, None, Audit(0.0, sample.basis), None)
    trials: list[Trial] = []
    for leaves in leaf_counts:
        for trained in _by_code(vectors, leaves, storage, sample, goal):
            trials += trained.audit.trials
            best = min(best, trained, key=lambda t: _work(t, *vectors.shape))
    return replace(best, audit=replace(best.audit, trials=tuple(trials)))


def _by_code(
    vectors: np.ndarray, leaves: int, storage: Storage, sample: Sample, goal: Goal
) -> Iterator[Trained]:
    """Train with coarse codes, and with fine ones if these might be cheaper."""
    assert storage.reorder is not None
    stored = footprint.encode(vectors, storage.vectors)
    for block_dims in (_COARSE_BLOCK_DIMS, _FINE_BLOCK_DIMS):
        index = ScannIndex.train(vectors, leaves, storage.reorder, block_dims)
        settings, audit = tune(index, stored, sample, goal)
        yield Trained(storage, settings, audit, index)
        if settings is not None and settings.depth == MIN_DEPTH:
            return


def _work(trained: Trained, count: int, dimension: int) -> float:
    if trained.settings is None:
        return math.inf
    return cost(count, dimension, trained.settings)


def _audit_exact(
    vectors: np.ndarray,
    storage: Storage,
    sample: Sample,
    goal: Goal,
    trials: tuple[Trial, ...],
) -> Audit:
    """Measure exact search, which loses pairs only by rounding the stored vectors."""
    if storage.vectors == "float32":
        return Audit(1.0, EXACT_BASIS, (), trials)
    stored = footprint.encode(vectors, storage.vectors)

    def find(queries: np.ndarray, threshold: float, k: int | None) -> Pairs:
        return exact.find(queries, stored, threshold, k)

    held_out = tuple(measure(find, p, goal.threshold) for p in sample.held_out)
    return Audit(lowest(held_out), sample.basis, held_out, trials)
