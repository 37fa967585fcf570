"""`clipseed evaluate`: retrieval figures of a trained model.

clipseed evaluate model --data run
clipseed evaluate model --protocol msr_vtt --annotations DIR --videos DIR
"""

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from beam_pipeline.commands.cut_benchmark import Protocol, Split
from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags

if TYPE_CHECKING:
    from models.data.segments import SegmentConfig
    from models.retrieval.metrics import Retrieval

_MODALITIES = {"V": "video", "A": "audio"}
# Of what is missing, so many are named on the terminal; the JSON names all.
_NAMED = 10


class Measured(NamedTuple):
    """What was measured, and on what.

    Attributes:
        figures: by direction.
        protocol: whose rows of the paper belong beside them; "" for a mined run.
        label: modality, and how the model came to be.
        facts: for the JSON; `missing` says why a clip was not embedded, by id,
            `captions_alike` how many captions the model cannot tell from another.
    """

    figures: "dict[str, Retrieval]"
    protocol: str
    label: str
    facts: dict[str, Any]


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
        "found last",
        default=False,
    )
    segments: int = flag(
        "Number of segments per clip, equally spaced", default=4, at_least=1
    )
    batch_size: int = flag("Clips embedded at once", default=16, at_least=1)
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
    "Measure text-to-clip and clip-to-text retrieval: recall at 1, 5 and 10, median "
    "and mean rank, with ties counted as chance. On the clips of a run (--data), or by "
    "a published protocol, whose videos or sounds are cut first.",
)


def run(argv: Sequence[str]) -> int:
    """Evaluates; gives 0, or 2 if it could not."""
    given = COMMAND_LINE.parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from models.retrieval.results_table import as_json, as_markdown

    try:
        with _data(given) as data:
            measured = measure(given, data)
    except InputError as reject:
        print(f"clipseed evaluate: {reject.message}", file=sys.stderr)
        return 2
    table = as_markdown(measured.figures, measured.protocol, measured.label)
    text = "\n".join([table, *_notes(measured.facts, given.leave_out)])
    print(text)
    if given.output:
        content = as_json(measured.figures, measured.protocol, measured.facts)
        given.output.write_text(content)
        given.output.with_suffix(".md").write_text(text + "\n")
    return 0


@contextlib.contextmanager
def _data(given: EvaluateFlags) -> Iterator[str]:
    """The run directory to measure on, cut first where a protocol is named."""
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


def measure(given: EvaluateFlags, run_dir: str) -> Measured:
    """Embeds a run, and measures.

    Raises:
        InputError: model or run cannot be read, or the model has not the modality.
    """
    from models.data.loader import EvaluationData
    from models.retrieval.evaluate import embed_run, evaluate
    from models.training.history import read_lineage, setting
    from models.training.load import load_trained

    trained = load_trained(given.model)
    modality, without = _modality(given.modality, trained.config.segment)
    data = EvaluationData(run_dir, trained.config.segment, given.segments)
    embedded = embed_run(trained.encoder, data, given.batch_size, without)
    figures = evaluate(embedded, given.leave_out)
    facts: dict[str, Any] = {"modality": modality, "missing": embedded.missing}
    facts["captions_alike"] = embedded.alike
    if data.run.benchmark is None:
        return Measured(figures, "", given.modality or "", facts)
    name = data.run.benchmark.name
    lineage = read_lineage(given.model)
    facts |= {
        "benchmark": name,
        "setting": setting(lineage, name),
        "trained_on": [row._asdict() for row in lineage],
    }
    label = f"{modality}, {facts['setting']}"
    return Measured(figures, name.partition("/")[0], label, facts)


def _modality(wanted: str | None, segment: "SegmentConfig") -> tuple[str, str]:
    """The paper's name of what is measured, and what is masked for it.

    Raises:
        InputError: `no_modality`.
    """
    taken = {"A": segment.spectrogram_frames > 0, "V": segment.frames > 0}
    have = [name for name, is_taken in taken.items() if is_taken]
    names = wanted.split("+") if wanted else have
    if not set(names) <= set(have):
        raise InputError(
            "no_modality",
            f"the model takes {'+'.join(have)}, not {wanted}: give another --modality",
        )
    masked = [_MODALITIES[name] for name in have if name not in names]
    return "+".join(names), "".join(masked)


def _notes(facts: dict[str, Any], left_out: bool) -> Iterator[str]:
    """What must be known beside the figures."""
    if facts["captions_alike"]:
        yield (
            f"\nCaptions that read like another to this model (cropped, or of words "
            f"that it does not know): {facts['captions_alike']}"
        )
    missing = facts["missing"]
    if missing:
        fate = "left out of the figures" if left_out else "counted as found last"
        yield f"\nClips missing, {fate}: {len(missing)}"
        yield from (f"- {name}: {missing[name]}" for name in sorted(missing)[:_NAMED])
    if len(missing) > _NAMED:
        yield f"- and {len(missing) - _NAMED} more; --output names all"
