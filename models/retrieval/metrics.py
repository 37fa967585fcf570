"""How well queries find what belongs to them: R@K, median and mean rank.

    relevant = np.eye(len(clips), dtype=bool)
    retrieval(texts @ clips.T, relevant)      # text -> clip
    retrieval(clips @ texts.T, relevant.T)    # clip -> text

The rank of a query is 1 + the number of candidates with a higher score than the best of
its own. Where others have the same score, the mean over all their orders counts, so
that a model with the same score for everything is at chance and not at 100 %.
(Published code disagrees about ties.)
"""

from typing import NamedTuple

import numpy as np

from clipseed.errors import InputError

CUTS = (1, 5, 10)
_QUERIES_A_BLOCK = 1024


class Retrieval(NamedTuple):
    """The figures of one direction.

    Attributes:
        recall: percent of the queries with rank at most 1, 5 and 10.
        median_rank: of the queries.
        mean_rank: of the queries.
        queries: how many.
        candidates: how many.
    """

    recall: tuple[float, float, float]
    median_rank: float
    mean_rank: float
    queries: int
    candidates: int


def retrieval(similarities: np.ndarray, relevant: np.ndarray) -> Retrieval:
    """Return the figures of one direction.

    Args:
        similarities: float [queries, candidates].
        relevant: bool [queries, candidates], what belongs to a query: the clip of a
            caption; the captions of a clip, of which the best counts; all clips of a
            caption that several have. Rows without any are not queries.

    Raises:
        InputError: `not_finite` for NaN, `no_query` for none.
    """
    asked = relevant.any(axis=1)
    found = ranks(np.asarray(similarities)[asked], relevant[asked])
    return _summary(found, similarities.shape[1])


def ranks(similarities: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the rank of the best of each query's own, from 1; ties share the mean.

    Args:
        similarities: float [queries, candidates].
        relevant: bool [queries, candidates], at least one a row.

    Returns:
        float64 [queries].

    Raises:
        InputError: `not_finite` where a score is NaN: no order would be true.
    """
    bad = int(np.isnan(similarities).any(axis=1).sum())
    if bad:
        raise InputError(
            "not_finite",
            f"{bad} queries have a similarity that is not a number; look at the model "
            "that made the embeddings",
        )
    found = [np.zeros(0)]
    for start in range(0, len(similarities), _QUERIES_A_BLOCK):
        rows = similarities[start : start + _QUERIES_A_BLOCK]
        own = relevant[start : start + _QUERIES_A_BLOCK]
        best = np.where(own, rows, -np.inf).max(axis=1, keepdims=True)
        higher = (rows > best).sum(axis=1)
        equal = rows == best
        others, ours = (equal & ~own).sum(axis=1), (equal & own).sum(axis=1)
        # Of `ours` among `others` in any order, the first is here on average.
        found.append(1 + higher + others / (ours + 1))
    return np.concatenate(found)


def _summary(found: np.ndarray, candidates: int) -> Retrieval:
    if not len(found):
        raise InputError("no_query", "there is nothing to search for")
    at_1, at_5, at_10 = (float(100 * (found <= cut).mean()) for cut in CUTS)
    return Retrieval(
        (at_1, at_5, at_10),
        float(np.median(found)),
        float(found.mean()),
        len(found),
        candidates,
    )
