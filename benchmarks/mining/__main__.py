"""Measure `clipseed mine` on made films of real pieces: CPU, elapsed time, memory.

python -m benchmarks.mining [--data ../shared/data] [--minutes 12] [--runs 3]

Every CPU figure is of whole processes, start-up and imports included, user and system
time. Runs of the things compared take turns, so that a machine that slows down does so
for all of them; the medians are shown. On a busy machine the CPU figures still hold
within a few percent, elapsed times do not.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # This file is a script outside of the distribution.

from benchmarks.mining.corpus import Corpus, build_corpus, film_lengths, find_sources
from benchmarks.mining.corpus import link_copies as copy_films
from benchmarks.processes import Cost, Memory, run, run_python
from clipseed.run.files import PAIRS_CSV

_SEEDS = 40
_SMALL_FILMS, _SMALL_FILM_S, _COPIES = 10, 6, 10
# What the plain script needs, then what it loads only because the steps' modules do.
_BEAM_IMPORT = """
import av, numpy, pyarrow.parquet, PIL.Image, tensorflow_io, time
start = time.process_time()
import apache_beam.ml.inference.base
print(time.process_time() - start)
"""


class Ratio(NamedTuple):
    """A figure to reach.

    Attributes:
        name: what is compared.
        value: measured.
        at_most: the target.
        at_least: the target.
    """

    name: str
    value: float
    at_most: float
    at_least: float = 0.0

    @property
    def reached(self) -> bool:
        """Whether the value is within the target."""
        return self.at_least <= self.value <= self.at_most


Measured = dict[str, list[Cost]]


def mine_command(corpus: Corpus, output: Path) -> list[str]:
    """Return the arguments of Python for the job with its default settings."""
    flags = {"seeds": corpus.seeds, "videos": corpus.videos, "output": output}
    given = [f"--{name}={value}" for name, value in flags.items()]
    return ["-m", "beam_pipeline.cli", "mine", *given, "--overwrite"]


def measure_once(corpus: Corpus, work: Path, measured: Measured) -> None:
    """Measure one round: each thing once, in turn."""
    files = [str(path) for path in corpus.files()]

    def note(name: str, cost: Cost) -> None:
        measured.setdefault(name, []).append(cost)
        print(f"  {name}: {cost.cpu_s:.2f} s CPU, {cost.elapsed_s:.2f} s elapsed",
              file=sys.stderr)  # fmt: skip

    if shutil.which("ffmpeg"):
        note("ffmpeg", _add([run(ffmpeg_command(path)) for path in files]))
    for mode in ("exact", "keyframe"):
        note(mode, run_python("-m", "benchmarks.mining.extract", mode, *files))
    plain = work / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    arguments = (str(corpus.seeds), str(corpus.videos), str(plain))
    note("plain", run_python("-m", "benchmarks.mining.plain_mining", *arguments))
    job = mine_command(corpus, work / "job")
    note("job", run_python(*job))
    check_same(work / "job", plain)
    if len(os.sched_getaffinity(0)) > 1:
        note("job_1_core", run_python(*job, cores=1))
        note("job_2_cores", run_python(*job, cores=2))
    loaded = run_python("-c", _BEAM_IMPORT)
    note("beam_import", loaded._replace(cpu_s=float(loaded.stdout)))


def ffmpeg_command(path: str) -> list[str]:
    """Time FFmpeg's own sampling at 1 fps, on one thread, without output."""
    source = ["-threads", "1", "-i", path]
    return [
        *["ffmpeg", "-v", "error"],
        *source,
        *["-an", "-vf", "fps=1", "-f", "null", "-"],
    ]


def _add(costs: list[Cost]) -> Cost:
    return Cost(sum(c.cpu_s for c in costs), sum(c.elapsed_s for c in costs), None, "")


def check_same(job: Path, plain: Path) -> None:
    """Check that both did the same work: equal pairs, equal clips.

    Raises:
        SystemExit: they did not, or found nothing.
    """
    ours, theirs = (sorted((d / PAIRS_CSV).open("rb")) for d in (job, plain))
    if not ours or ours != theirs:
        raise SystemExit(f"{job} and {plain} have other pairs, or none")
    for clips in sorted((job / "clips").iterdir()):
        if clips.read_bytes() != (plain / "clips" / clips.name).read_bytes():
            raise SystemExit(f"{clips} and the plain script's differ")


def measure_memory(few: Corpus, many: Corpus, work: Path) -> tuple[Memory, Memory]:
    """Peak memory of the job on few and on many films."""
    few_peak, many_peak = (
        run_python(*mine_command(corpus, work / "memory"), watch=True).memory
        for corpus in (few, many)
    )
    assert few_peak is not None and many_peak is not None
    return few_peak, many_peak


def ratios(measured: Measured, memory: list[tuple[Memory, Memory]]) -> list[Ratio]:
    """Return what was measured against the targets."""

    def cpu_s(name: str) -> float:
        return median(cost.cpu_s for cost in measured[name])

    found = []
    if "ffmpeg" in measured:
        found += [
            Ratio(
                "frames, exact / ffmpeg, CPU", cpu_s("exact") / cpu_s("ffmpeg"), 0.85
            ),
            Ratio(
                "frames, keyframe / ffmpeg, CPU",
                cpu_s("keyframe") / cpu_s("ffmpeg"),
                0.2,
            ),
        ]
    plain_s = cpu_s("plain") - cpu_s("beam_import")
    found.append(Ratio("job / plain script, CPU", cpu_s("job") / plain_s, 1.15))
    if "job_1_core" in measured:
        one, two = (
            median(cost.elapsed_s for cost in measured[name])
            for name in ("job_1_core", "job_2_cores")
        )
        found.append(Ratio("job, 2 cores / 1 core, elapsed", two / one, 0.6))
    if memory:
        few, many = (median(m[i].tree_bytes for m in memory) for i in (0, 1))
        name = f"peak memory, {_SMALL_FILMS * _COPIES} / {_SMALL_FILMS} videos"
        found.append(Ratio(name, many / few, 1.1, 0.9))
    return found


_NAMES = {
    "ffmpeg": "(a) ffmpeg -threads 1 -vf fps=1",
    "exact": "(b) frame extraction, exact",
    "keyframe": "(b) frame extraction, keyframe",
    "job": "(c) clipseed mine",
    "plain": "(d) plain script, without Beam",
}


def table(
    measured: Measured,
    memory: list[tuple[Memory, Memory]],
    found: list[Ratio],
    hours: float,
) -> str:
    """Return all figures as text."""
    lines = [f"{'CPU seconds a video hour':42}median  of runs"]
    import_s = median(cost.cpu_s for cost in measured["beam_import"])
    for name, title in _NAMES.items():
        less_s = import_s if name == "plain" else 0.0
        runs = [(cost.cpu_s - less_s) / hours for cost in measured.get(name, [])]
        shown = (
            f"{median(runs):6.1f}  {_numbers(runs)}" if runs else "no ffmpeg on PATH"
        )
        lines.append(f"{title:42}{shown}")
    lines += ["", f"{'elapsed seconds':42}median  of runs"]
    for name in ("job_1_core", "job_2_cores"):
        runs = [cost.elapsed_s for cost in measured.get(name, [])]
        shown = f"{median(runs):6.1f}  {_numbers(runs)}" if runs else "one core only"
        lines.append(f"{name:42}{shown}")
    lines += ["", f"{'peak memory, MB (PSS)':42}  tree  parent  children"]
    for i, count in enumerate((_SMALL_FILMS, _SMALL_FILMS * _COPIES)):
        for pair in memory:
            tree, parent, children = (size / 1e6 for size in pair[i])
            title = f"clipseed mine, {count} videos"
            lines.append(f"{title:42}{tree:6.0f}  {parent:6.0f}  {children:8.0f}")
    lines += ["", f"{'ratio':42} value  target"]
    for ratio in found:
        bound = f"{ratio.at_least:g} to " if ratio.at_least else "at most "
        verdict = "reached" if ratio.reached else "MISSED"
        target = f"{bound}{ratio.at_most:g}"
        lines.append(f"{ratio.name:42}{ratio.value:6.3f}  {target:14} {verdict}")
    return "\n".join(lines)


def _numbers(runs: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in runs)


def circumstances(corpus: Corpus) -> dict[str, str]:
    """Return what the figures depend on."""
    import av

    ffmpeg = "not on PATH: (a) is missing; install ffmpeg to measure it"
    if shutil.which("ffmpeg"):
        shown = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True)
        ffmpeg = " ".join(shown.stdout.split()[:3])
    avcodec = ".".join(map(str, av.library_versions["libavcodec"]))
    packages = ("apache-beam", "numpy", "tensorflow")
    return {
        "command": shlex.join(["python", *sys.argv]),
        "corpus": f"{corpus.films} films, {corpus.seconds / 60:.1f} minutes, "
        f"{_SEEDS} seeds",
        "cores": str(len(os.sched_getaffinity(0))),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "ffmpeg": ffmpeg,
        "PyAV": f"{av.__version__} (libavcodec {avcodec})",
        **{name: metadata.version(name) for name in packages},
    }


def main() -> None:
    """Build the corpora where they are missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, default=ROOT.parent / "shared" / "data",
        help="test data whose videos become the corpus")  # fmt: skip
    add("--minutes", type=float, default=12, help="of video in the corpus")
    add("--runs", type=int, default=3, help="of everything; medians are shown")
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "clipseed-benchmark",
        help="scratch folder; the corpus is kept there")  # fmt: skip
    add("--json", type=Path, help="also write the figures here")
    flags = parser.parse_args()
    work, seconds = flags.work, round(flags.minutes * 60)
    work.mkdir(parents=True, exist_ok=True)
    sources = find_sources(flags.data, work)
    corpus = build_corpus(work / f"{seconds}_s", sources, film_lengths(seconds), _SEEDS)
    lengths = [_SMALL_FILM_S] * _SMALL_FILMS
    few = build_corpus(work / "few", sources, lengths, _SMALL_FILMS)
    many = copy_films(few, work / "many", _COPIES)
    measured: Measured = {}
    memory = []
    for number in range(flags.runs):
        print(f"run {number + 1} of {flags.runs}", file=sys.stderr)
        measure_once(corpus, work, measured)
        memory.append(measure_memory(few, many, work))
    report(corpus, measured, memory, flags.json)


def report(
    corpus: Corpus,
    measured: Measured,
    memory: list[tuple[Memory, Memory]],
    path: Path | None,
) -> None:
    """Print the tables; write the figures as JSON."""
    about, found = circumstances(corpus), ratios(measured, memory)
    print("\n".join(f"{name:12} {value}" for name, value in about.items()), end="\n\n")
    print(table(measured, memory, found, corpus.seconds / 3600))
    if path is not None:
        figures = {
            "about": about,
            "video_s": corpus.seconds,
            "cpu_s": {n: [c.cpu_s for c in costs] for n, costs in measured.items()},
            "elapsed_s": {
                n: [c.elapsed_s for c in costs] for n, costs in measured.items()
            },
            "peak_memory": [[m._asdict() for m in pair] for pair in memory],
            "ratios": [r._asdict() | {"reached": r.reached} for r in found],
        }
        path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
