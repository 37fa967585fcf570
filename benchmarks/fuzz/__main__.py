"""Decode many damaged videos and images, and print what became of them as a table.

    python -m benchmarks.fuzz --count=10000
    python -m benchmarks.fuzz --count=2000 --videos=folder --keep=crashes

A file that ends unexpectedly is written to the folder `--keep`, to be looked into.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.fuzz.examine import examine_mutants, read_sources
from benchmarks.fuzz.sources import make_images, make_videos
from transforms.media.isolation.containment import UNEXPECTED, canary

_MOST_BYTES = 400_000


def main() -> int:
    """Return the exit status, 1 where somebody should look into a file."""
    flags = _parse()
    canary.max_share = 1.0
    with tempfile.TemporaryDirectory() as folder:
        videos = make_videos(Path(folder))
    if flags.videos:
        videos += read_sources(flags.videos, _MOST_BYTES)
    outcomes: Counter[tuple[str, str]] = Counter()
    slowest, most_parts, unexpected, start_s = 0.0, 0, 0, time.monotonic()
    mutants = examine_mutants(videos, make_images(), range(flags.count), flags.seed)
    for number, mutant, verdict in mutants:
        outcomes[mutant.mutation, verdict.outcome] += 1
        slowest = max(slowest, verdict.seconds)
        most_parts = max(most_parts, verdict.parts)
        if UNEXPECTED & {verdict.outcome, verdict.clip} or verdict.seconds > 15:
            unexpected += 1
            print(f"{number} {mutant.name} {mutant.mutation}: {verdict}", flush=True)
            if flags.keep:
                Path(flags.keep).mkdir(exist_ok=True)
                Path(flags.keep, f"{number}_{mutant.name}").write_bytes(mutant.data)
    _print_table(outcomes)
    print(
        f"\n{flags.count} files of {len(videos)} videos and 6 images in "
        f"{time.monotonic() - start_s:.0f} s; unexpected: {unexpected}; slowest: "
        f"{slowest:.1f} s; most parts: {most_parts}"
    )
    return int(unexpected > 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="number of files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damages")
    parser.add_argument("--videos", default="", help="folder of more good videos")
    parser.add_argument("--keep", default="", help="folder for files that surprise")
    return parser.parse_args()


def _print_table(outcomes: Counter[tuple[str, str]]) -> None:
    mutations = sorted({mutation for mutation, _ in outcomes})
    print("| outcome | " + " | ".join(mutations) + " | all |")
    print("|---|" + "---:|" * (len(mutations) + 1))
    totals: Counter[str] = Counter()
    for (_, outcome), count in outcomes.items():
        totals[outcome] += count
    for outcome, total in totals.most_common():
        cells = [str(outcomes[mutation, outcome] or "") for mutation in mutations]
        print(f"| {outcome} | " + " | ".join(cells) + f" | {total} |")


if __name__ == "__main__":
    sys.exit(main())
