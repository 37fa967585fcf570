"""Retrieval metrics against an independent computation."""

from itertools import pairwise, permutations

import numpy as np
import pytest

from clipseed.errors import InputError
from models.retrieval.metrics import Retrieval, ranks, retrieval

RNG = np.random.default_rng(0)


def by_all_orders(row: np.ndarray, own: set[int]) -> float:
    """Return the mean place of the first true match over all orders of the ties."""
    places = []
    for order in permutations(range(len(row))):
        if all(row[a] >= row[b] for a, b in pairwise(order)):
            places.append(1 + next(i for i, c in enumerate(order) if c in own))
    return float(np.mean(places))


MATRICES = {
    "random": lambda: RNG.standard_normal((12, 6)),
    "tied": lambda: RNG.integers(0, 3, (12, 6)).astype(float),
    "infinite": lambda: np.where(RNG.random((12, 6)) < 0.3, -np.inf, 1.5),
    "constant": lambda: np.full((12, 6), 0.5),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("most", [1, 3])
def test_ranks_are_those_of_a_sort(name: str, most: int) -> None:
    matrix, relevant = MATRICES[name](), np.zeros((12, 6), bool)
    for row in relevant:
        row[RNG.choice(6, RNG.integers(1, most + 1), replace=False)] = True
    wanted = [
        by_all_orders(row, set(np.flatnonzero(own).tolist()))
        for row, own in zip(matrix, relevant, strict=True)
    ]
    assert ranks(matrix, relevant) == pytest.approx(np.array(wanted))
    got = retrieval(matrix, relevant)
    for cut, recall in zip((1, 5, 10), got.recall, strict=True):
        share = np.mean([round(w, 9) <= cut for w in wanted])
        assert recall == pytest.approx(100 * share)
    assert got.median_rank == pytest.approx(np.median(wanted))
    assert got.mean_rank == pytest.approx(np.mean(wanted))
    assert (got.queries, got.candidates) == (12, 6)


def test_many_queries_are_ranked_in_blocks() -> None:
    matrix, own = RNG.standard_normal((2500, 7)), RNG.integers(0, 7, 2500)
    wanted = [1 + (row > row[i]).sum() for row, i in zip(matrix, own, strict=True)]
    assert ranks(matrix, own[:, None] == np.arange(7)).tolist() == wanted


def test_a_collapsed_model_is_at_chance() -> None:
    got = retrieval(np.full((100, 100), 0.3), np.eye(100, dtype=bool))
    assert got.recall == (0.0, 0.0, 0.0)
    assert got.median_rank == got.mean_rank == 50.5


def test_a_perfect_model_is_at_the_top() -> None:
    assert retrieval(np.eye(12), np.eye(12, dtype=bool)) == Retrieval(
        (100.0, 100.0, 100.0), 1.0, 1.0, 12, 12
    )


def test_of_several_captions_the_best_counts() -> None:
    # Clip 0 has the captions 0 and 2, clip 1 has caption 1, clip 2 has none.
    similarities = np.array([[0.1, 0.9, 0.0], [0.5, 0.8, 0.9], [0.7, 0.2, 0.1]])
    relevant = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], bool)
    got = retrieval(similarities.T, relevant.T)
    # Clip 0: its captions rank 3 and 1; clip 1: 0.8 is behind 0.9.
    assert got.mean_rank == 1.5 and got.recall[0] == 50 and got.queries == 2
    assert got.candidates == 3
    assert retrieval(similarities, relevant).mean_rank == pytest.approx(5 / 3)


def test_nan_and_nothing_are_errors() -> None:
    matrix = np.eye(3)
    matrix[1, 2] = np.nan
    with pytest.raises(InputError, match="not_finite"):
        retrieval(matrix, np.eye(3, dtype=bool))
    with pytest.raises(InputError, match="no_query"):
        retrieval(np.zeros((0, 3)), np.zeros((0, 3), bool))
