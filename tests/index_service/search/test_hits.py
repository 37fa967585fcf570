"""Merging what shards found."""

import numpy as np

from index_service.search.matches import Matches, merge_matches


def matches(*queries: list[tuple[str, float]], cut: tuple[bool, ...] = ()) -> Matches:
    flat = [match for query in queries for match in query]
    return Matches(
        np.array([len(query) for query in queries], np.int64),
        [seed_id for seed_id, _ in flat],
        np.array([similarity for _, similarity in flat], np.float32),
        np.array(cut or [False] * len(queries)),
    )


def same(left: Matches, right: Matches) -> bool:
    return left.ids == right.ids and all(
        np.array_equal(left[i], right[i]) for i in (0, 2, 3)
    )


def test_the_best_of_all_shards_come_first() -> None:
    left = matches([("b", 0.9), ("a", 0.5)], [])
    right = matches([("c", 0.75)], [("d", 0.5)])
    merged = matches([("b", 0.9), ("c", 0.75), ("a", 0.5)], [("d", 0.5)])
    assert same(merge_matches([left, right], 3), merged)
    assert same(merge_matches([right, left], 3), merged)


def test_k_cuts_and_says_so() -> None:
    left = matches([("b", 0.9), ("a", 0.5)], [("e", 0.5)], cut=(False, True))
    right = matches([("c", 0.75)], [])
    merged = merge_matches([left, right], 2)
    assert same(
        merged, matches([("b", 0.9), ("c", 0.75)], [("e", 0.5)], cut=(True, True))
    )


def test_ties_go_by_id() -> None:
    merged = merge_matches([matches([("b", 0.5)]), matches([("a", 0.5)])], 1)
    assert same(merged, matches([("a", 0.5)], cut=(True,)))


def test_nothing_found_stays_nothing() -> None:
    assert same(merge_matches([matches([], []), matches([], [])], 5), matches([], []))
    assert len(merge_matches([matches()], 5).ids) == 0
