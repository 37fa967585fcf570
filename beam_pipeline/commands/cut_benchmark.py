"""`clipseed cut-benchmark`: a benchmark's clips, to be trained or measured on."""

import logging
import sys
from collections.abc import Sequence
from typing import Literal

from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags
from clipseed.io.output_lock import locking_output

Protocol = Literal["msr_vtt", "msr_vtt_captions", "audiocaps", "clotho"]
Split = Literal["train", "val", "test"]


@flags
class CutBenchmarkFlags:
    """All flags of `clipseed cut-benchmark`."""

    protocol: Protocol = flag(
        "Benchmark: msr_vtt (1k-A), msr_vtt_captions, audiocaps or clotho",
        positional=True,
    )
    annotations: str = flag("Folder of its annotation files", metavar="PATH")
    videos: str = flag("Folder of its videos or sounds, local or gs://", metavar="PATH")
    split: Split = flag("Split of the benchmark", default="train")
    output: str = flag("Run directory, local or gs://", metavar="PATH")


COMMAND_LINE = CommandLine(
    "clipseed cut-benchmark",
    CutBenchmarkFlags,
    "Cut the clips of a published benchmark into a run directory, as mining does. "
    "`clipseed train` fine-tunes on it; `clipseed evaluate --data` measures on it.",
)


def run(arguments: Sequence[str]) -> int:
    """Cut the benchmark; return 0, or 2 if that is not possible."""
    given = COMMAND_LINE.parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from clipseed.run.reader import Run
    from transforms.benchmarks.cut import cut_benchmark
    from transforms.benchmarks.registry import read_benchmark

    try:
        benchmark = read_benchmark(given.protocol, given.annotations, given.split)
        with locking_output(given.output):
            cut_benchmark(benchmark, given.videos, given.output)
        clips = Run.open(given.output).open_clips()
    except InputError as error:
        print(f"clipseed cut-benchmark: {error.message}", file=sys.stderr)
        return 2
    print(f"{len(clips)} clips of {benchmark.name} in {given.output}")
    for clip in clips.benchmark.missing if clips.benchmark else ():
        print(f"missing {clip.clip_id}: {clip.message}", file=sys.stderr)
    return 0
