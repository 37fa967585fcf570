"""Which clip is where: known at every step, without the steps before it.

    draws = draw(step=1000, batch=256, sizes=(5000, 800), weights=(3.0, 1.0), seed=7)

Resuming at a step, or on another host, yields the same clips.
"""

from collections.abc import Sequence

import numpy as np


def draw(
    step: int, batch: int, sizes: Sequence[int], weights: Sequence[float], seed: int
) -> np.ndarray:
    """Return the clips of a batch.

    Each data set is gone through epoch by epoch, in a new order each time, and has its
    share of every batch (as nearly as whole clips allow; over time exactly).

    Args:
        step: from 0.
        batch: clips in it, all hosts together.
        sizes: number of clips of each data set.
        weights: of the data sets; their sum does not matter.
        seed: of the orders.

    Returns:
        int64 [batch, 3]: data set, clip, and the number of the draw from the data set,
        which no two draws share; in an order that mixes the data sets.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    rows = []
    for source, size in enumerate(sizes):
        first, last = (
            _drawn(shares, source, (step + i) * batch, len(sizes)) for i in (0, 1)
        )
        for number in range(first, last):
            clip = _order(seed, source, number // size, size)[number % size]
            rows.append((source, clip, number))
    mixed = np.random.default_rng((seed, step, 1)).permutation(len(rows))
    return np.array(rows, np.int64)[mixed]


def _drawn(shares: np.ndarray, source: int, clips: int, sources: int) -> int:
    """Return how many of the first `clips` draws are from a data set."""
    if source < sources - 1:
        return int(np.floor(clips * shares[source]))
    return clips - sum(_drawn(shares, s, clips, sources) for s in range(sources - 1))


_orders: dict[tuple[int, int, int, int], np.ndarray] = {}


def _order(seed: int, source: int, epoch: int, size: int) -> np.ndarray:
    """Return a data set's order in an epoch; the last few are kept."""
    key = (seed, source, epoch, size)
    if key not in _orders:
        if len(_orders) > 8:
            _orders.clear()
        _orders[key] = np.random.default_rng((seed, source, epoch)).permutation(size)
    return _orders[key]
