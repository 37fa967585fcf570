"""Choose ScaNN's search settings by measurement.

Settings are tried in the order of a cost formula rather than of measured time, so that
a rerun chooses the same.
"""

import logging
import math
import time
from dataclasses import dataclass

import numpy as np

from index_service.build.audit import EXACT_BASIS, Sample, lowest, measure
from index_service.search import scann_index
from index_service.search.exact import Pairs
from index_service.search.scann_index import (
    MAX_DEPTH,
    SPILL,
    ScannIndex,
)
from index_service.store.tuning import Audit, Recall, Reorder, ScannSettings, Trial

_LOG = logging.getLogger(__name__)
MIN_DEPTH = 64
DEPTHS = (MIN_DEPTH, 128, 256, 512, MAX_DEPTH)
LEAF_SHARES = (
    *(1 / 64, 1 / 32, 3 / 64, 1 / 16, 5 / 64, 3 / 32, 1 / 8, 3 / 16, 1 / 4),
    *(3 / 8, 1 / 2, 1),
)


@dataclass(frozen=True)
class Goal:
    """The recall that the settings must reach.

    Attributes:
        threshold: similarity that a pair must exceed.
        recall: share of the pairs to find, on the held-out half.
        margin: how much higher recall on the tuning half must be.
    """

    threshold: float
    recall: float
    margin: float


def tune(
    index: ScannIndex, vectors: np.ndarray, sample: Sample, goal: Goal
) -> tuple[ScannSettings | None, Audit]:
    """Find the cheapest settings that reach the goal.

    Args:
        index: trained on the seeds.
        vectors: [n, d], the seeds as stored, float32 or bfloat16.
        sample: queries with what exact search finds for them.
        goal: the recall to reach.

    Returns:
        The settings and their audit; None and an `exact` audit if none suffice.
    """
    trials: list[Trial] = []
    fewest = 0
    count, dimension = vectors.shape
    options = grid(count, dimension, index.leaves, index.reorder, index.block_dims)
    # Too few visits at full depth are too few at any depth: rule these out first.
    for settings in [option for option in options if option.depth == MAX_DEPTH]:
        trial, held_out = _attempt(index, vectors, sample, goal, settings)
        trials.append(trial)
        if held_out:
            break
        fewest = settings.leaves_to_search + 1
    else:
        return None, Audit(1.0, EXACT_BASIS, (), tuple(trials))
    for settings in [o for o in options if o.leaves_to_search >= fewest]:
        trial, held_out = _attempt(index, vectors, sample, goal, settings)
        trials.append(trial)
        if held_out:
            audit = Audit(lowest(held_out), sample.basis, held_out, tuple(trials))
            return settings, audit
    raise AssertionError("the settings that sufficed at full depth are in the grid")


def grid(
    count: int,
    dimension: int,
    leaves: int,
    reorder: Reorder = "bfloat16",
    block_dims: int = 2,
) -> list[ScannSettings]:
    """List the settings to try for an index of `count` seeds, cheapest first."""
    options = [
        ScannSettings(leaves, visit, depth, reorder, block_dims)
        for visit in {visits(leaves, share) for share in LEAF_SHARES}
        for depth in DEPTHS
    ]
    return sorted(options, key=lambda option: cost(count, dimension, option))


def visits(leaves: int, share: float) -> int:
    """Return the number of leaves to search; 0 without a tree."""
    return math.ceil(leaves * share)


def cost(count: int, dimension: int, settings: ScannSettings) -> float:
    """Estimate the work of a query, in float32 multiply-adds.

    Scoring a block of a seed's code costs about an eighth of a dimension, fetching and
    rescoring a candidate about six times its dimensions (fitted to 250k seeds of 128).
    """
    codes, centers = float(count), 0.0
    if settings.leaves:
        codes *= SPILL * settings.leaves_to_search / settings.leaves
        centers = 0.6 * settings.leaves
    return dimension * (
        centers + codes / (8 * settings.block_dims) + 6 * settings.depth
    )


def _attempt(
    index: ScannIndex,
    vectors: np.ndarray,
    sample: Sample,
    goal: Goal,
    settings: ScannSettings,
) -> tuple[Trial, tuple[Recall, ...]]:
    """Measure one setting.

    Returns:
        The trial, and the recalls on the held-out half: empty unless the goal is met.
    """

    def find(queries: np.ndarray, threshold: float, k: int | None) -> Pairs:
        return scann_index.pairs_above(index, vectors, queries, threshold, settings, k)

    began = time.perf_counter()
    tuned = tuple(measure(find, probe, goal.threshold) for probe in sample.tuning)
    seconds = time.perf_counter() - began
    speed = round(sum(recall.queries for recall in tuned) / seconds, 1)
    trial = Trial(settings, lowest(tuned), None, speed)
    held_out: tuple[Recall, ...] = ()
    if trial.recall >= min(1.0, goal.recall + goal.margin):
        held_out = tuple(
            measure(find, probe, goal.threshold) for probe in sample.held_out
        )
        trial = Trial(settings, trial.recall, lowest(held_out), speed)
    _LOG.info("%s", trial)
    met = trial.recall_held_out is not None and trial.recall_held_out >= goal.recall
    return trial, held_out if met else ()
