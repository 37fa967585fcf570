"""Whether a day's run is fit to be published.

    problems = problems_of(run.mining.accounting, candidate, published, Limits())

A drop of the match rate is how a broken embedder, an index of the wrong seeds or a
corpus of black films shows itself, though each run's sums are right.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from published import PublishedRun

from clipseed.run.accounting import StageAccount


@dataclass(frozen=True)
class Limits:
    """How far a run may fall behind.

    Attributes:
        min_rate: least match rate, as a part of the earlier runs' median.
        last_runs: how many earlier runs are compared with.
        min_expected: matches; where fewer than so many are expected, as on a day with
            few videos, the rate is left to chance and not judged.
    """

    min_rate: float = 0.5
    last_runs: int = 7
    min_expected: float = 20.0


def problems_of(
    accounting: Iterable[StageAccount],
    candidate: PublishedRun,
    published: Iterable[PublishedRun],
    limits: Limits,
) -> Iterator[str]:
    """Yield why a run must not be published, and what to do; nothing if it is fit.

    Args:
        accounting: of its stages.
        candidate: what would be published.
        published: the days that are.
        limits: of the match rate.
    """
    for stage in accounting:
        if not stage.balanced:
            yield (
                f"accounting: stage {stage.stage} took {stage.inputs} in, gave "
                f"{stage.outputs} out and dropped {dict(stage.dropped)}: inputs were "
                "lost or doubled; report this as a bug, and mine the day again"
            )
    behind = _rate_problem(candidate, list(comparable(candidate, published)), limits)
    if behind:
        yield behind


def comparable(
    candidate: PublishedRun, published: Iterable[PublishedRun]
) -> Iterator[PublishedRun]:
    """Yield the earlier runs that looked for the same in the same way."""
    for run in published:
        same = (run.embedder, run.seeds, run.threshold) == (
            candidate.embedder,
            candidate.seeds,
            candidate.threshold,
        )
        if same and run.day < candidate.day and run.frames:
            yield run


def _rate_problem(
    candidate: PublishedRun, earlier: list[PublishedRun], limits: Limits
) -> str | None:
    last = sorted(earlier, key=lambda run: run.day)[-limits.last_runs :]
    if not last:
        return None
    usual = median(run.matches / run.frames for run in last)
    expected = usual * candidate.frames
    if expected < limits.min_expected or (
        candidate.matches >= limits.min_rate * expected
    ):
        return None
    return (
        f"match rate: {candidate.matches} matches in {candidate.frames} frames, where "
        f"the last {len(last)} runs ({last[0].day} to {last[-1].day}) make one expect "
        f"{expected:.0f}, and at least {limits.min_rate:g} of that is asked: look at "
        f"`clipseed inspect` of {candidate.run}; if the day's videos are like that, "
        "run it again with a lower min_match_rate"
    )
