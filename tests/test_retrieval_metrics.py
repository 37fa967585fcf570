"""Retrieval metrics against an independent computation."""

from collections.abc import Callable

import numpy as np
import pytest

from models.retrieval_metrics import Retrieval, ranks, retrieval, retrieval_of_any
from transforms.elements import Reject

RNG = np.random.default_rng(0)


def by_sorting(row: np.ndarray, own: int) -> float:
    """The mean of the best and the worst place that a sort may give."""
    order = sorted(row.tolist(), reverse=True)
    first = order.index(row[own]) + 1
    last = len(order) - order[::-1].index(row[own])
    return (first + last) / 2


MATRICES = {
    "random": lambda: RNG.standard_normal((40, 25)),
    "tied": lambda: RNG.integers(0, 4, (40, 25)).astype(float),
    "infinite": lambda: np.where(RNG.random((40, 25)) < 0.1, -np.inf, 1.5),
}


@pytest.mark.parametrize("name", MATRICES)
def test_ranks_are_those_of_a_sort(name: str) -> None:
    matrix = MATRICES[name]()
    own = RNG.integers(0, 25, 40)
    wanted = [by_sorting(row, i) for row, i in zip(matrix, own, strict=True)]
    assert ranks(matrix, own).tolist() == wanted
    got = retrieval(matrix, own)
    for cut, recall in zip((1, 5, 10), got.recall, strict=True):
        assert recall == pytest.approx(100 * np.mean([w <= cut for w in wanted]))
    assert got.median_rank == np.median(wanted) and got.mean_rank == np.mean(wanted)
    assert (got.queries, got.candidates) == (40, 25)


def test_many_queries_are_ranked_in_blocks() -> None:
    matrix = RNG.standard_normal((2500, 7))
    own = RNG.integers(0, 7, 2500)
    wanted = [by_sorting(row, i) for row, i in zip(matrix, own, strict=True)]
    assert ranks(matrix, own).tolist() == wanted


def test_a_collapsed_model_is_at_chance() -> None:
    constant = np.full((100, 100), 0.3)
    for measure in (retrieval, retrieval_of_any):
        got = measure(constant, np.arange(100))
        assert got.recall == (0.0, 0.0, 0.0)
        assert got.median_rank == got.mean_rank == 50.5


def test_a_perfect_model_is_at_the_top() -> None:
    assert retrieval(np.eye(12), np.arange(12)) == Retrieval(
        (100.0, 100.0, 100.0), 1.0, 1.0, 12, 12
    )


def test_of_several_captions_the_best_counts() -> None:
    # Clip 0 has the captions 0 and 2, clip 1 has caption 1, clip 2 has none.
    similarities = np.array([[0.1, 0.9, 0.0], [0.5, 0.8, 0.9], [0.7, 0.2, 0.1]])
    own = np.array([0, 1, 0])
    got = retrieval_of_any(similarities, own)
    # Clip 0: its captions rank 3 and 1; clip 1: 0.8 is behind 0.9.
    assert got.mean_rank == 1.5 and got.recall[0] == 50 and got.queries == 2
    assert got.candidates == 3
    assert retrieval(similarities, own).mean_rank == pytest.approx((2 + 2 + 1) / 3)


@pytest.mark.parametrize("measure", [retrieval, retrieval_of_any])
def test_nan_and_nothing_are_errors(
    measure: Callable[[np.ndarray, np.ndarray], Retrieval],
) -> None:
    matrix = np.eye(3)
    matrix[1, 2] = np.nan
    with pytest.raises(Reject, match="not_finite"):
        measure(matrix, np.arange(3))
    with pytest.raises(Reject, match="no_query"):
        measure(np.zeros((0, 3)), np.zeros(0, int))
