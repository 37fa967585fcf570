"""How well queries find what belongs to them: R@K, median and mean rank.

    similarities = texts @ clips.T
    retrieval(similarities, own=np.arange(len(clips)))  # text -> clip

The rank of a candidate is 1 + the number of candidates with a higher score; of equal
scores the mean rank of all of them counts, so that a model that gives every clip the
same score is at chance and not at 100 %. (Published code disagrees about ties.)
"""

from typing import NamedTuple

import numpy as np

from transforms.elements import Reject

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


def retrieval(similarities: np.ndarray, own: np.ndarray) -> Retrieval:
    """Text to clip: each caption is a query, one clip is its own.

    Args:
        similarities: float [queries, candidates].
        own: int [queries], the candidate that belongs to each query.

    Raises:
        Reject: `not_finite` for NaN, `no_query` for none.
    """
    return _summary(ranks(similarities, own), similarities.shape[1])


def retrieval_of_any(similarities: np.ndarray, own: np.ndarray) -> Retrieval:
    """Clip to text: of a clip's captions the one that ranks best counts.

    Args:
        similarities: float [captions, clips], as for `retrieval`.
        own: int [captions], the clip of each caption. Clips without a caption are
            no queries.

    Raises:
        Reject: as `retrieval`.
    """
    turned = np.asarray(similarities).T
    best = {}
    for clip in np.unique(own):
        captions = np.flatnonzero(own == clip)
        row = np.repeat(turned[clip][None], len(captions), axis=0)
        best[int(clip)] = ranks(row, captions).min()
    return _summary(np.array(list(best.values())), len(own))


def ranks(similarities: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The rank of each query's own candidate, from 1; ties share their mean rank.

    Args:
        similarities: float [queries, candidates].
        own: int [queries].

    Returns:
        float64 [queries].

    Raises:
        Reject: `not_finite` where a score is NaN: no order would be true.
    """
    similarities = np.asarray(similarities)
    bad = int(np.isnan(similarities).any(axis=1).sum())
    if bad:
        raise Reject(
            "not_finite",
            f"{bad} queries have a similarity that is no number; look at the model "
            "that made the embeddings",
        )
    found = []
    for start in range(0, len(similarities), _QUERIES_A_BLOCK):
        rows = similarities[start : start + _QUERIES_A_BLOCK]
        columns = own[start : start + _QUERIES_A_BLOCK, None]
        truth = np.take_along_axis(rows, columns, axis=1)
        higher = (rows > truth).sum(axis=1)
        equal = (rows == truth).sum(axis=1)  # Itself among them.
        found.append(1 + higher + (equal - 1) / 2)
    return np.concatenate(found) if found else np.zeros(0)


def _summary(found: np.ndarray, candidates: int) -> Retrieval:
    if not len(found):
        raise Reject("no_query", "there is nothing to search for")
    at_1, at_5, at_10 = (float(100 * (found <= cut).mean()) for cut in CUTS)
    return Retrieval(
        (at_1, at_5, at_10),
        float(np.median(found)),
        float(found.mean()),
        len(found),
        candidates,
    )
