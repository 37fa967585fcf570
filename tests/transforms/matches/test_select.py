from itertools import pairwise

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import Match, Video
from clipseed.run.accounting import (
    BELOW_THRESHOLD,
    MATCHES,
    NOT_AMONG_THE_BEST,
    SEEDS_MATCHED,
    SELECTED,
)
from transforms.matches.select import (
    Selection,
    SelectMatches,
    SelectMatchesFn,
    rank_matches,
    select_matches,
)

GAP_US = 10_000_000
A, B = (Video(name, f"{name}.mp4", f"/{name}.mp4") for name in "ab")


def selection(top_k: int, min_gap_us: int, threshold: float = 0.5) -> Selection:
    return Selection(threshold, top_k, min_gap_us)


def match(similarity: float, video: str, second: float) -> Match:
    return Match("s", similarity, Video(video, video, video), round(second * 1e6))


def crowd(seed: int, count: int = 3000) -> list[Match]:
    """Return matches on a grid of seconds in three videos, many equally similar."""
    rng = np.random.default_rng(seed)
    return [
        match(round(float(s), 2), f"v{v}", int(t))
        for s, v, t in zip(
            rng.uniform(0.6, 1, count),
            rng.integers(3, size=count),
            rng.integers(1200, size=count),
            strict=True,
        )
    ]


def brute_force(matches: list[Match], top_k: int, gap_us: int) -> list[Match]:
    left = sorted(
        set(matches), key=lambda m: (-m.similarity, m.video.video_id, m.time_us)
    )
    taken = []
    while left and len(taken) < top_k:
        best = left[0]
        taken.append(best)
        left = [
            m
            for m in left[1:]
            if m.video != best.video or abs(m.time_us - best.time_us) >= gap_us
        ]
    return taken


def test_the_best_of_neighbors_is_kept() -> None:
    matches = [match(0.7, "a", 0), match(0.8, "a", 8), match(0.9, "a", 16)]
    assert select_matches(matches, selection(10, GAP_US)) == [matches[2], matches[0]]
    assert select_matches(matches, selection(10, 0)) == matches[::-1]
    assert select_matches(matches, selection(1, 0)) == matches[2:]


def test_exactly_the_gap_is_far_enough_and_other_videos_do_not_count() -> None:
    matches = [match(0.9, "a", 0), match(0.8, "a", 10), match(0.7, "b", 5)]
    assert select_matches(matches, selection(10, GAP_US)) == matches


def test_ties_go_by_video_and_time() -> None:
    matches = [match(0.9, v, t) for v in "ba" for t in (30, 0)]
    best = select_matches(matches, selection(10, GAP_US))
    assert [(m.video.video_id, m.time_us) for m in best] == [
        ("a", 0), ("a", 30_000_000), ("b", 0), ("b", 30_000_000),
    ]  # fmt: skip


@pytest.mark.parametrize("gap_us", [0, GAP_US])
@pytest.mark.parametrize("seed", range(5))
def test_partial_results_lose_nothing(seed: int, gap_us: int) -> None:
    matches = crowd(seed)
    combine = SelectMatchesFn(selection(10, gap_us), 1.0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(matches))
    cuts = sorted(rng.integers(len(matches), size=12).tolist())
    parts = []
    for start, end in pairwise([0, *cuts, len(matches)]):
        best = combine.create_accumulator()
        for i in order[start:end]:
            best = combine.add_input(best, matches[i])
        parts.append(combine.compact(best))
    assert max(map(len, parts)) <= 230
    result = combine.extract_output(combine.merge_accumulators(parts))
    assert result == brute_force(matches, 10, gap_us)


def test_the_threshold_itself_is_not_above_it() -> None:
    matches = [match(0.9, "a", 0), match(0.6, "b", 0), match(0.5, "c", 0)]
    assert select_matches(matches, selection(10, 0, threshold=0.6)) == matches[:1]


def test_in_a_pipeline_by_seed() -> None:
    above = crowd(1, 200)
    below = [m._replace(similarity=0.5, time_us=m.time_us + 1) for m in above[:7]]
    others = [m._replace(seed_id="t") for m in crowd(2, 150)]
    low = [match(0.5, "a", 0)._replace(seed_id="u")]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        selected = (
            pipeline
            | beam.Create(above + below + others + low)
            | SelectMatches(selection(3, GAP_US), sample_fps=1.0)
        )
        wanted = [
            ("s", brute_force(above, 3, GAP_US)),
            ("t", brute_force(others, 3, GAP_US)),
        ]
        assert_that(selected.by_seed, equal_to(wanted), label="by_seed")
        sums = selected.tallies | beam.Flatten() | "Sum" >> beam.CombinePerKey(sum)
        counts = {
            MATCHES: 358, BELOW_THRESHOLD: 8, NOT_AMONG_THE_BEST: 344, SELECTED: 6,
            SEEDS_MATCHED: 2,
        }  # fmt: skip
        assert_that(sums, equal_to(list(counts.items())), label="tallies")


# --- ranks ---------------------------------------------------------------------------


def test_matches_go_by_seed_best_first_with_ranks_where_selected() -> None:
    matches = [
        Match("t", 0.9, A, 0),
        Match("s", 0.5, A, 90),  # below the threshold
        Match("s", 0.75, B, 40),  # third
        Match("s", 0.8, A, 59),  # too near to the best
        Match("s", 0.9, A, 50),
        Match("s", 0.8, B, 0),
        Match("s", 0.9, A, 50),  # twice, as from a bundle that was tried again
        Match("s", 0.6, B, 90),  # the threshold itself is not above it
    ]
    chosen = selection(2, 10, threshold=0.6)
    assert list(rank_matches(matches, chosen, "e")) == [
        ("s", "a.mp4", "a", 50, 0.9, 1, "e"),
        ("s", "a.mp4", "a", 59, 0.8, None, "e"),
        ("s", "b.mp4", "b", 0, 0.8, 2, "e"),
        ("s", "b.mp4", "b", 40, 0.75, None, "e"),
        ("s", "b.mp4", "b", 90, 0.6, None, "e"),
        ("s", "a.mp4", "a", 90, 0.5, None, "e"),
        ("t", "a.mp4", "a", 0, 0.9, 1, "e"),
    ]
    reverse = rank_matches(matches[::-1], chosen, "e")
    assert list(reverse) == list(rank_matches(matches, chosen, "e"))


def test_the_gap_and_top_k_decide_the_ranks() -> None:
    matches = [Match("s", 0.9 - i / 100, A, i) for i in range(4)]
    ranked = rank_matches(matches, selection(3, 0), "e")
    assert [match.rank for match in ranked] == [1, 2, 3, None]
