"""Mine thousands of damaged files beside good ones, and print what became of them.

    python -m benchmarks.fuzz --count=10000 --work=/tmp/fuzz

Each round is one job over new files, every other one with webdataset shards as seeds.
A round of which anything is not as it should be stays in the folder `--work`.
"""

import argparse
import shutil
import sys
from collections import Counter
from pathlib import Path

from benchmarks.fuzz.job import MOST_BYTES, Job, check_job

_ROUND = 2000


def main() -> int:
    """Return the exit status, 1 where somebody should look into something."""
    flags = _parse()
    jobs: list[Job] = []
    for number, start in enumerate(range(0, flags.count, _ROUND)):
        count = min(_ROUND, flags.count - start)
        root = Path(flags.work) / f"round_{number}"
        shutil.rmtree(root, ignore_errors=True)
        job = check_job(root, count, flags.seed + number, shards=number % 2 == 1)
        jobs.append(job)
        print(
            f"round {number}: {count} files in {job.seconds:.0f} s, "
            f"{job.tree_bytes / 2**30:.2f} GiB, {len(job.problems)} problems",
            flush=True,
        )
        for problem in job.problems:
            print(f"  {problem}", flush=True)
        if not job.problems:
            shutil.rmtree(root)
    _print_table("damaged as", [job.mutations for job in jobs])
    _print_table("outcome", [job.outcomes for job in jobs])
    problems = sum(len(job.problems) for job in jobs)
    most_bytes = max(job.tree_bytes for job in jobs)
    print(
        f"\n{flags.count} files in {len(jobs)} jobs, "
        f"{sum(job.seconds for job in jobs):.0f} s; problems: {problems}; most memory: "
        f"{most_bytes / 2**30:.2f} of {MOST_BYTES / 2**30:g} GiB"
    )
    return int(problems > 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="number of files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first round")
    parser.add_argument("--work", default="fuzz_work", help="folder to work in")
    return parser.parse_args()


def _print_table(title: str, counters: list[Counter[tuple[str, str]]]) -> None:
    """Print a table of counts, kinds across."""
    total: Counter[tuple[str, str]] = Counter()
    for counter in counters:
        total.update(counter)
    kinds = sorted({kind for kind, _ in total})
    rows: Counter[str] = Counter()
    for (_, row), count in total.items():
        rows[row] += count
    print(f"\n| {title} | " + " | ".join(kinds) + " |")
    print("|---|" + "---:|" * len(kinds))
    for row, _ in rows.most_common():
        cells = [str(total[kind, row] or "") for kind in kinds]
        print(f"| `{row}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
