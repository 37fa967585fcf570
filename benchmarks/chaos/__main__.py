"""Disturb jobs in many ways, and print whether they end as if nothing had happened.

    python -m benchmarks.chaos --kills=30

A killed job is started again until it ends; then its files are compared, byte by byte,
with those of a job that nothing disturbed. Needs the tests' helpers, and for the full
disk the right to mount a file system in memory.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.chaos.disturbances import (
    broken_bucket,
    full_disk,
    jumping_clock,
    killed_reload,
    two_at_once,
)
from benchmarks.chaos.jobs import ChaosJob, merging, mining, training
from benchmarks.chaos.processes import Chaos

# Of the kills: how they are shared out among the jobs.
_SHARES = {"mine": 0.4, "merge": 0.2, "train": 0.2, "reload": 0.2}
_KILLS_A_RUN = 6


class Row(NamedTuple):
    """A row of the table: what was done how often, and what came of it."""

    disturbance: str
    job: str
    times: int
    outcome: str
    left_over: str = ""


def main() -> int:
    """Return the exit status, 1 where a result differs or something is left over."""
    flags = _parse()
    rng, rows = random.Random(flags.seed), []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        chaos = Chaos(root / "scratch")
        mine = mining(root)
        jobs = [mine, merging(root, mine, lambda arguments: _must(chaos, arguments))]
        wholes = {}
        for job in jobs:
            wholes[job.name] = _undisturbed(chaos, job, root)
        jobs.append(training(root, root / "mine_whole"))
        wholes["train"] = _undisturbed(chaos, jobs[-1], root)
        for job in jobs:
            kills = round(flags.kills * _SHARES[job.name])
            whole, seconds = wholes[job.name]
            rows.append(_killed(chaos, job, root, kills, whole, seconds, rng))
            _print(rows[-1])
        kills = round(flags.kills * _SHARES["reload"])
        whole, _ = wholes["mine"]
        others: list[tuple[str, str, int, Callable[[], str]]] = [
            ("kill -9", "reload", kills, lambda: killed_reload(root / "v", kills, rng)),
            ("full disk", "mine", 2, lambda: full_disk(chaos, mine, root, whole)),
            ("503, 429, cut answers", "mine", 1, lambda: broken_bucket(chaos, root)),
            ("clock jumps", "mine", 1, lambda: jumping_clock(chaos, mine, root, whole)),
            ("two at once", "mine", 1, lambda: two_at_once(chaos, mine, root, whole)),
        ]
        for disturbance, job_name, times, disturb in others:
            rows.append(Row(disturbance, job_name, times, _told(disturb)))
            _print(rows[-1])
    return int(any(row.outcome != "equal" or row.left_over for row in rows))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="kills over all jobs")
    parser.add_argument("--seed", type=int, default=0, help="of when they come")
    return parser.parse_args()


def _told(disturb: Callable[[], str]) -> str:
    """Return the outcome; an exception is one that the table has to show."""
    try:
        return disturb()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]


def _must(chaos: Chaos, arguments: list[str]) -> None:
    ended = chaos.run(arguments)
    if ended.status:
        raise SystemExit(f"{' '.join(arguments)}: {ended.status}\n{ended.stderr}")


def _undisturbed(
    chaos: Chaos, job: ChaosJob, root: Path
) -> tuple[dict[str, str], float]:
    """Return the result of a job, and how long it takes."""
    output = root / f"{job.name}_whole"
    ended = chaos.run(job.arguments(output))
    if ended.status:
        raise SystemExit(f"{job.name}: {ended.status}\n{ended.stderr}")
    return job.result(output), ended.seconds


def _killed(
    chaos: Chaos,
    job: ChaosJob,
    root: Path,
    kills: int,
    whole: dict[str, str],
    seconds: float,
    rng: random.Random,
) -> Row:
    """Kill a job at random points, a few times a run, and let it end."""
    done, problems, left = 0, [], set()
    while done < kills:
        output = root / f"{job.name}_{done}"
        for _ in range(min(_KILLS_A_RUN, kills - done)):
            done += chaos.kill(job.arguments(output), rng.uniform(0.2, seconds))
            if (output / "run.json").exists():
                break  # It was quicker than the kill.
        else:
            ended = chaos.run(job.arguments(output))
            if ended.status:
                problems.append(f"status {ended.status}: {ended.stderr[-300:]}")
        if not problems and job.result(output) != whole:
            problems.append("other bytes")
        left.update(chaos.left_over(output))
    return Row(
        "kill -9",
        job.name,
        done,
        "; ".join(problems) or "equal",
        ", ".join(sorted(left)),
    )


def _print(row: Row) -> None:
    print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
