"""Measure the mining job on each runner, with 1 and 2 workers, against a plain script.

python -m benchmarks.mining.scaling [--minutes 8] [--runs 1] [--no_flink]

In process, a worker is a core. On Flink (`engines/flink_cluster`: one JobManager, two
TaskManagers, external Python workers) it is a slot; its CPU is that of all the
cluster's processes while the job runs, and the elapsed time has no start of a cluster
in it. Every run must give the plain script's pairs. CPU figures hold on a busy
machine within a few percent, elapsed times do not.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks.mining.__main__ import check_same, mine_command
from benchmarks.mining.corpus import Corpus, build_corpus, film_lengths, find_sources
from benchmarks.processes import ROOT, Cost, run_python, tree

Measured = dict[str, list[Cost]]


def measure(corpus: Corpus, work: Path, flink: list[str], note: Callable) -> None:
    """Measure one round: the plain script, then each runner and number of workers."""
    plain = work / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    places = (str(corpus.seeds), str(corpus.videos), str(plain))
    note(
        "plain script",
        run_python("-m", "benchmarks.mining.plain_mining", *places, cores=1),
    )
    output = work / "job"
    # A frame embedding cache would spare the next run the work.
    job = [*mine_command(corpus, output), "--no_keep_embeddings"]
    for workers in (1, 2):
        cost = run_python(*job, cores=workers)
        # Looking at memory takes time from the second core, so it has a run of its own.
        memory = run_python(*job, cores=workers, watch=True).memory
        note(f"in process, {_count(workers)}", cost._replace(memory=memory))
        check_same(output, plain)
    for workers in (1, 2) if flink else ():
        flags = [f for f in flink if not f.startswith("--parallelism")]
        before_s = cluster_cpu_s(work / "flink")
        cost = run_python(*job, *flags, f"--parallelism={workers}")
        spent_s = cost.cpu_s + cluster_cpu_s(work / "flink") - before_s
        note(f"Flink cluster, {_count(workers)}", cost._replace(cpu_s=spent_s))
        check_same(output, plain)


def _count(workers: int) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''}"


def cluster_cpu_s(folder: Path) -> float:
    """Return the CPU seconds of the cluster, with those of processes that ended."""
    from engines.daemons import Daemons

    spent_s = 0.0
    for leader in Daemons(folder).running().values():
        for member in tree(leader):
            # The time of a member that has ended is its parent's.
            with contextlib.suppress(psutil.NoSuchProcess):
                times = member.cpu_times()
                spent_s += times.user + times.system
                spent_s += times.children_user + times.children_system
    return spent_s


@contextmanager
def flink_flags(folder: Path, wanted: bool) -> Iterator[list[str]]:
    """Start a cluster for the length of the block, if wanted; yield its flags."""
    if not wanted:
        yield []
        return
    from engines.daemons import Daemons
    from engines.flink_cluster import start

    flags = start(folder)
    try:
        yield flags
    finally:
        Daemons(folder).stop()


def table(measured: Measured, hours: float) -> str:
    """Return the medians, and their share of the plain script's."""
    lines = [f"{'':26}{'CPU s/h':>9}{'of plain':>10}{'elapsed s':>11}{'of plain':>10}"]
    plain_cpu, plain_elapsed = _medians(measured["plain script"])
    for name, costs in measured.items():
        cpu, elapsed = _medians(costs)
        lines.append(
            f"{name:26}{cpu / hours:9.0f}{cpu / plain_cpu:10.2f}"
            f"{elapsed:11.1f}{elapsed / plain_elapsed:10.2f}"
        )
    for name, costs in measured.items():
        peaks = [cost.memory.tree_bytes for cost in costs if cost.memory]
        if peaks:
            lines.append(f"{name}: peak memory {median(peaks) / 1e9:.2f} GB")
    return "\n".join(lines)


def _medians(costs: list[Cost]) -> tuple[float, float]:
    return median(c.cpu_s for c in costs), median(c.elapsed_s for c in costs)


def main() -> None:
    """Build the corpus where it is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data")
    add("--minutes", type=float, default=8, help="of video in the corpus")
    add("--runs", type=int, default=1, help="of everything; medians are shown")
    add("--no_flink", action="store_true", help="leave the cluster out")
    add("--work", type=Path, help="scratch folder; the corpus is kept there",
        default=Path(tempfile.gettempdir()) / "clipseed_benchmark")  # fmt: skip
    add("--json", type=Path, help="also write the figures here")
    flags = parser.parse_args()
    seconds = round(flags.minutes * 60)
    flags.work.mkdir(parents=True, exist_ok=True)
    sources = find_sources(flags.data, flags.work)
    corpus = build_corpus(
        flags.work / f"{seconds}_s", sources, film_lengths(seconds), 40
    )
    measured: Measured = {}

    def note(name: str, cost: Cost) -> None:
        measured.setdefault(name, []).append(cost)
        print(f"  {name}: {cost.cpu_s:.1f} s CPU, {cost.elapsed_s:.1f} s elapsed",
              file=sys.stderr)  # fmt: skip

    with flink_flags(flags.work / "flink", not flags.no_flink) as flink:
        for _ in range(flags.runs):
            measure(corpus, flags.work, flink, note)
    print(table(measured, corpus.seconds / 3600))
    if flags.json:
        figures = {n: [c._asdict() for c in costs] for n, costs in measured.items()}
        flags.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
