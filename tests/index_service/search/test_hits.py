"""Merging what shards found."""

import numpy as np

from index_service.search.hits import Hits, merge_hits


def hits(*queries: list[tuple[str, float]], cut: tuple[bool, ...] = ()) -> Hits:
    flat = [match for query in queries for match in query]
    return Hits(
        np.array([len(query) for query in queries], np.int64),
        [seed_id for seed_id, _ in flat],
        np.array([similarity for _, similarity in flat], np.float32),
        np.array(cut or [False] * len(queries)),
    )


def same(left: Hits, right: Hits) -> bool:
    return left.ids == right.ids and all(
        np.array_equal(left[i], right[i]) for i in (0, 2, 3)
    )


def test_the_best_of_all_shards_come_first() -> None:
    left = hits([("b", 0.9), ("a", 0.5)], [])
    right = hits([("c", 0.75)], [("d", 0.5)])
    merged = hits([("b", 0.9), ("c", 0.75), ("a", 0.5)], [("d", 0.5)])
    assert same(merge_hits([left, right], 3), merged)
    assert same(merge_hits([right, left], 3), merged)


def test_k_cuts_and_says_so() -> None:
    left = hits([("b", 0.9), ("a", 0.5)], [("e", 0.5)], cut=(False, True))
    right = hits([("c", 0.75)], [])
    merged = merge_hits([left, right], 2)
    assert same(merged, hits([("b", 0.9), ("c", 0.75)], [("e", 0.5)], cut=(True, True)))


def test_ties_go_by_id() -> None:
    merged = merge_hits([hits([("b", 0.5)]), hits([("a", 0.5)])], 1)
    assert same(merged, hits([("a", 0.5)], cut=(True,)))


def test_nothing_found_stays_nothing() -> None:
    assert same(merge_hits([hits([], []), hits([], [])], 5), hits([], []))
    assert len(merge_hits([hits()], 5).ids) == 0
