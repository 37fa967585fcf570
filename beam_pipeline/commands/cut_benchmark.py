"""`clipseed cut-benchmark`: a benchmark's clips, to be trained or measured on."""

import argparse
import logging
import sys
from collections.abc import Sequence

from clipseed.errors import InputError


def run(argv: Sequence[str]) -> int:
    """Cuts; gives 0, or 2 if it could not."""
    parser = argparse.ArgumentParser(
        prog="clipseed cut-benchmark",
        description="Cuts the videos or sounds of a published benchmark into a run "
        "directory, as mining does: `clipseed train` fine-tunes on it, `clipseed "
        "evaluate --data` measures.",
    )
    add = parser.add_argument
    add("protocol", help="msr_vtt, audiocaps or clotho")
    add("--annotations", required=True, help="folder of its annotation files")
    add("--videos", required=True, help="folder of its videos or sounds")
    add("--split", default="train", help="train, val or test (train)")
    add("--output", required=True, help="run directory, local or gs://")
    flags = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from clipseed.run.reader import Run
    from transforms.benchmarks.cut import cut_benchmark
    from transforms.benchmarks.registry import read_benchmark

    try:
        benchmark = read_benchmark(flags.protocol, flags.annotations, flags.split)
        cut_benchmark(benchmark, flags.videos, flags.output)
        clips = Run.open(flags.output).open_clips()
    except InputError as reject:
        print(f"clipseed cut-benchmark: {reject.message}", file=sys.stderr)
        return 2
    print(f"{len(clips)} clips of {benchmark.name} in {flags.output}")
    for clip in clips.benchmark.missing if clips.benchmark else ():
        print(f"missing {clip.clip_id}: {clip.message}", file=sys.stderr)
    return 0
