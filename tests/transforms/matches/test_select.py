from itertools import pairwise

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import Match, Video
from transforms.matches.select import TopMatches, TopMatchesFn, select_top

GAP_US = 10_000_000


def match(similarity: float, video: str, second: float) -> Match:
    return Match("s", similarity, Video(video, video, video), round(second * 1e6))


def crowd(seed: int, count: int = 3000) -> list[Match]:
    """Matches on a grid of seconds in three videos, many with equal similarity."""
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
    assert select_top(matches, 10, GAP_US) == [matches[2], matches[0]]
    assert select_top(matches, 10, 0) == matches[::-1]
    assert select_top(matches, 1, 0) == matches[2:]


def test_exactly_the_gap_is_far_enough_and_other_videos_do_not_count() -> None:
    matches = [match(0.9, "a", 0), match(0.8, "a", 10), match(0.7, "b", 5)]
    assert select_top(matches, 10, GAP_US) == matches


def test_ties_go_by_video_and_time() -> None:
    matches = [match(0.9, v, t) for v in "ba" for t in (30, 0)]
    assert [(m.video.video_id, m.time_us) for m in select_top(matches, 10, GAP_US)] == [
        ("a", 0), ("a", 30_000_000), ("b", 0), ("b", 30_000_000),
    ]  # fmt: skip


@pytest.mark.parametrize("gap_us", [0, GAP_US])
@pytest.mark.parametrize("seed", range(5))
def test_partial_results_lose_nothing(seed: int, gap_us: int) -> None:
    matches = crowd(seed)
    combine = TopMatchesFn(10, gap_us, 1.0)
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


def test_in_a_pipeline_by_seed() -> None:
    matches = crowd(1, 200)
    others = [m._replace(seed_id="t") for m in crowd(2, 200)]
    with TestPipeline(runner="FnApiRunner") as pipeline:
        best = (
            pipeline
            | beam.Create(matches + others)
            | TopMatches(top_k=3, min_gap_us=GAP_US, fps=1.0)
        )
        assert_that(
            best,
            equal_to(
                [
                    ("s", brute_force(matches, 3, GAP_US)),
                    ("t", brute_force(others, 3, GAP_US)),
                ]
            ),
        )
