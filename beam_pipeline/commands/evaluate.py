"""`clipseed evaluate`: figures of a trained model, of retrieval or of captions.

clipseed evaluate model --data run
clipseed evaluate model --protocol msr_vtt --annotations DIR --videos DIR
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from beam_pipeline.commands.cut_benchmark import Protocol, Split
from beam_pipeline.report.terminal import markdown_table, show
from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags

if TYPE_CHECKING:
    from models.training.task import Report


@flags
class EvaluateFlags:
    """All flags of `clipseed evaluate`."""

    model: str = flag("Output directory of `clipseed train`", positional=True)
    data: str | None = flag(
        "Run directory, mined or cut by `clipseed cut-benchmark`",
        default=None,
        metavar="PATH",
    )
    protocol: Protocol | None = flag("Published protocol", default=None)
    annotations: str | None = flag(
        "Folder of the protocol's annotation files", default=None, metavar="PATH"
    )
    videos: str | None = flag(
        "Folder of the protocol's videos or sounds, local or gs://",
        default=None,
        metavar="PATH",
    )
    split: Split = flag("Split of the protocol", default="test")
    clips: str | None = flag(
        "Directory to keep the protocol's clips in, and to find them in",
        default=None,
        metavar="PATH",
    )
    modality: Literal["A+V", "V", "A"] | None = flag(
        "What the model sees of a clip: video (V), sound (A) or both",
        default=None,
        default_text="all that it takes",
    )
    leave_out: bool = flag(
        "Measure without the clips that are missing, instead of counting them as "
        "found last, or as empty captions",
        default=False,
    )
    segments: int | None = flag(
        "Number of segments per clip, equally spaced; a captioner takes 1",
        default=None,
        default_text="4, of a captioner 1",
        at_least=1,
    )
    batch_size: int = flag("Segments encoded at once", default=16, at_least=1)
    v2t: Literal["frozen", "clip4clip"] = flag(
        "What a clip of several captions is ranked against: all captions, of which its "
        "best counts (frozen, as Frozen in Time), or all clips, each by its best "
        "caption (clip4clip, as CLIP4Clip)",
        default="frozen",
    )
    beams: int = flag(
        "Captions that a captioner keeps at each step; 1: greedy search",
        default=3,
        at_least=1,
    )
    max_tokens: int = flag(
        "Longest caption of a captioner, in tokens, its end included",
        default=32,
        at_least=1,
    )
    output: Path | None = flag(
        "JSON file of the results; the table is written beside it as .md", default=None
    )

    def __post_init__(self) -> None:
        """Raise ValueError unless a run or a whole protocol is named."""
        parts = (self.protocol, self.annotations, self.videos)
        if bool(self.data) == any(parts) or any(parts) != all(parts):
            raise ValueError(
                "give --data, or --protocol with --annotations and --videos"
            )


COMMAND_LINE = CommandLine(
    "clipseed evaluate",
    EvaluateFlags,
    "Measure a trained model on the clips of a run (--data), or by a published "
    "protocol, whose videos or sounds are cut first. Retrieval: recall at 1, 5 and 10, "
    "median and mean rank in both directions, with ties counted as chance. Captions: "
    "loss, and BLEU-4, CIDEr, METEOR and ROUGE-L by pycocoevalcap, which needs Java.",
)


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed evaluate`; return 0, or 2 if that is not possible."""
    given = COMMAND_LINE.parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from models.training.load import load_trained
    from models.training.task import EvaluationOptions

    options = EvaluationOptions(
        modality=given.modality,
        segments=given.segments,
        batch_size=given.batch_size,
        leave_out=given.leave_out,
        v2t=given.v2t,
        beams=given.beams,
        max_tokens=given.max_tokens,
    )
    try:
        _check_writable(given.output)
        with _data(given) as data:
            trained = load_trained(given.model)
            report = trained.config.task.evaluate(trained, data, options)
    except InputError as error:
        print(f"clipseed evaluate: {error.message}", file=sys.stderr)
        return 2
    show(markdown_table(report.text))
    return 0 if given.output is None else _write(report, given.output)


def _check_writable(path: Path | None) -> None:
    """Check, before an hour's work, that its results can be written.

    Raises:
        InputError: `unwritable`.
    """
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(
            "unwritable",
            f"cannot write --output {path}: name a file in a folder that is there and "
            "may be written to",
        )


def _write(report: "Report", path: Path) -> int:
    """Write the results; return the exit status."""
    try:
        path.write_text(report.json)
        path.with_suffix(".md").write_text(report.text + "\n")
    except OSError as error:
        print(f"clipseed evaluate: cannot write {path}: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _data(given: EvaluateFlags) -> Iterator[str]:
    """Yield the run directory to evaluate on, cut first if a protocol is named."""
    if given.data:
        yield given.data
        return
    from clipseed.io.scratch import scratch_folder
    from transforms.benchmarks.cut import cut_benchmark
    from transforms.benchmarks.registry import read_benchmark

    protocol, annotations = given.protocol or "", given.annotations or ""
    benchmark = read_benchmark(protocol, annotations, given.split)
    with scratch_folder() as scratch:
        directory = given.clips or scratch
        cut_benchmark(benchmark, given.videos or "", directory)
        yield directory
