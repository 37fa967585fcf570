"""Measure searches for all pairs above τ: exact, ScaNN as tuned here, and faiss.

    python -m benchmarks.index [--counts 10000,100000] [--dimensions 128]
        [--target_recall 0.99] [--output DIR]

For each set of clustered vectors every engine is built and tuned on one half of the
queries; recall and speed are of the other half, in batches of 256, each measured in a
process of its own on one core and on two. Prints a table; `DIR` gets `index.json` and
`index.png`, queries a second over the number of seeds.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.index import engines
from benchmarks.index.engines import ENGINES, Task
from benchmarks.processes import run_python

_THRESHOLD = 0.6
_QUERIES = 1_000  # of each half
_SEEDS_A_CLUSTER = 20
_REPEATS = 3
_CORES = (1, 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    add = parser.add_argument
    add("--counts", type=_numbers, default=[10_000, 100_000])
    add("--dimensions", type=_numbers, default=[128])
    add("--target_recall", type=float, default=0.99)
    add("--output", type=Path, help="directory of index.json and index.png")
    add("--worker", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args(argv)
    if flags.worker:
        _work(*flags.worker)
        return
    rows = [
        row
        for dimension in flags.dimensions
        for count in flags.counts
        for row in measure(count, dimension, flags.target_recall)
    ]
    if flags.output:
        flags.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"threshold": _THRESHOLD, "rows": rows}, indent=2)
        (flags.output / "index.json").write_text(text + "\n")
        plot(rows, flags.output / "index.png")


def measure(count: int, dimension: int, target: float) -> list[dict[str, Any]]:
    """Measure every engine on one set, and print one line per engine."""
    print(f"\n{count:,} seeds of dimension {dimension}, recall {target} asked for")
    print(f"{'':14}{'build s':>8}{'MiB':>8}{'recall':>9}{'q/s, 1':>9}{'q/s, 2':>9}")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        make_set(root, count, dimension, target)
        for name in ENGINES:
            (root / name).mkdir()
            row: dict[str, Any] = {
                "engine": name,
                "count": count,
                "dimension": dimension,
            }
            row |= _child("build", root, name, max(_CORES))
            for cores in _CORES:
                found = _child("search", root, name, cores)
                row |= {"recall": found["recall"], f"qps_{cores}": found["qps"]}
            rows.append(row)
            print(
                f"{name:14}{row['build_s']:8.1f}{row['bytes'] / 2**20:8.1f}"
                f"{row['recall']:9.4f}{row['qps_1']:9,.0f}{row['qps_2']:9,.0f}"
                f"  {row['choice']}",
                flush=True,
            )
    return rows


def make_set(root: Path, count: int, dimension: int, target: float) -> None:
    """Write seeds in clusters of about 20, and frames nearer to the centers.

    A seed's similarity to its center is about 0.82, a frame's 0.89: pairs of a cluster
    are around 0.73, all others near 0.
    """
    rng = np.random.default_rng(0)
    shape = (max(1, count // _SEEDS_A_CLUSTER), dimension)
    centers = rng.standard_normal(shape, np.float32)
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    for name, rows, spread in (
        ("seeds", count, 0.7),
        ("tuning", _QUERIES, 0.5),
        ("queries", _QUERIES, 0.5),
    ):
        made = rng.standard_normal((rows, dimension), np.float32)
        made *= spread / np.sqrt(dimension)
        made += centers[rng.integers(0, len(centers), rows)]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        np.save(root / f"{name}.npy", made)
    (root / "target.json").write_text(json.dumps(target))


def _child(what: str, root: Path, engine: str, cores: int) -> dict[str, Any]:
    """Run one step in a process with that many cores."""
    arguments = ["-m", "benchmarks.index", "--worker", what, str(root), engine]
    return json.loads(run_python(*arguments, cores=cores).stdout.splitlines()[-1])


def _work(what: str, root_name: str, engine: str) -> None:
    """Run one step, and print its figures as JSON."""
    root = Path(root_name)
    import faiss

    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    seeds, tuning, queries = (
        np.load(root / f"{name}.npy") for name in ("seeds", "tuning", "queries")
    )
    target = json.loads((root / "target.json").read_text())
    task = Task(seeds, tuning, _THRESHOLD, target)
    build, load = ENGINES[engine]
    directory = root / engine
    if what == "build":
        began = time.perf_counter()
        size = build(task, directory)
        figures = {
            "build_s": time.perf_counter() - began,
            "bytes": size,
            "choice": engines.choice(directory),
        }
    else:
        figures = _speed(load(task, directory), task, queries)
    print(json.dumps(figures))


def _speed(search: engines.Search, task: Task, queries: np.ndarray) -> dict[str, Any]:
    """Recall, and queries a second: the best run, for the machine is shared."""
    truth = engines.search_all(engines.load_exact(task, Path()), queries)
    found = engines.search_all(search, queries)  # also warms up
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        engines.search_all(search, queries)
        times.append(time.perf_counter() - began)
    share = engines.recall(found, truth, len(task.seeds))
    return {"recall": share, "qps": len(queries) / min(times)}


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot queries per second over the number of seeds, one panel per dimension."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    dimensions = sorted({row["dimension"] for row in rows})
    figure, panels = pyplot.subplots(
        1, len(dimensions), figsize=(5 * len(dimensions), 4), squeeze=False
    )
    for panel, dimension in zip(panels[0], dimensions, strict=True):
        for name in ENGINES:
            line = [
                (row["count"], row["qps_2"])
                for row in rows
                if (row["engine"], row["dimension"]) == (name, dimension)
            ]
            panel.loglog(*zip(*sorted(line), strict=True), "o-", label=name)
        panel.set(title=f"d = {dimension}", xlabel="seeds", ylabel="queries/s, 2 cores")
        panel.grid(alpha=0.3)
        panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _numbers(text: str) -> list[int]:
    return [int(float(part)) for part in text.split(",")]


if __name__ == "__main__":
    main()
