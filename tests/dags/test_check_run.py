"""What keeps a run from being published."""

from typing import Any

import pytest
from check_run import Limits, problems_of
from published import PublishedRun

from clipseed.run.accounting import StageAccount
from tests.support.daily.made_published import published_run

BALANCED = [StageAccount("load", 3, 2, {"not_found": 1})]
WEEK = [published_run(f"2026-01-0{day}") for day in range(1, 8)]  # 0.1 a frame


def found(
    candidate: PublishedRun, published: list[PublishedRun], limits: Limits | None = None
) -> list[str]:
    return list(problems_of(BALANCED, candidate, published, limits or Limits()))


def day_8(**fields: Any) -> PublishedRun:
    return published_run("2026-01-08", **fields)


@pytest.mark.parametrize(
    ("matches", "fit"), [(100, True), (900, True), (50, True), (49, False), (0, False)]
)
def test_a_rate_far_below_the_last_runs_is_a_problem(matches: int, fit: bool) -> None:
    problems = found(day_8(matches=matches), WEEK)
    assert (problems == []) == fit
    if not fit:
        assert f"{matches} matches in 1000 frames" in problems[0]
        assert "expect 100" in problems[0] and "min_match_rate" in problems[0]


def test_the_limit_is_a_setting() -> None:
    assert found(day_8(matches=80), WEEK, Limits(min_rate=0.9))
    assert not found(day_8(matches=10), WEEK, Limits(min_rate=0.1))


def test_one_odd_day_does_not_move_what_is_usual() -> None:
    odd = [published_run("2026-01-07", matches=100_000)]
    assert not found(day_8(matches=60), [*WEEK[:6], *odd])


def test_only_the_last_runs_count() -> None:
    rare = [published_run(f"2026-01-0{day}", matches=10_000) for day in range(1, 5)]
    assert not found(day_8(), [*rare, *WEEK[4:]], Limits(last_runs=3))
    assert found(day_8(), [*rare, *WEEK[4:]], Limits(last_runs=7))


def test_a_small_day_is_left_to_chance() -> None:
    assert not found(day_8(frames=199, matches=0), WEEK)
    assert found(day_8(frames=200, matches=0), WEEK)
    assert found(day_8(frames=199, matches=0), WEEK, Limits(min_expected=0))


@pytest.mark.parametrize(
    "other", [{"embedder": "hub"}, {"seeds": "/more.csv"}, {"threshold": 0.7}]
)
def test_runs_that_looked_otherwise_are_not_compared(other: dict[str, Any]) -> None:
    assert not found(day_8(matches=0, **other), WEEK)


def test_the_first_run_and_later_days_are_not_compared() -> None:
    assert not found(day_8(matches=0), [])
    assert not found(day_8(matches=0), [published_run("2026-01-08")])
    assert not found(day_8(matches=0), [published_run("2026-01-09")])
    assert not found(day_8(matches=0), [published_run("2026-01-01", frames=0)])


def test_sums_that_do_not_balance_are_a_problem() -> None:
    lossy = StageAccount("embed", 5, 3, {"x": 1})
    problems = list(problems_of([*BALANCED, lossy], day_8(), [], Limits()))
    assert len(problems) == 1
    assert "stage embed took 5 in, gave 3 out" in problems[0]
