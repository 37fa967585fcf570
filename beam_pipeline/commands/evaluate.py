"""`clipseed evaluate`: retrieval figures of a trained model.

clipseed evaluate model --data run
clipseed evaluate model --protocol msr_vtt --annotations DIR --videos DIR
"""

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clipseed.errors import InputError

if TYPE_CHECKING:
    from models.data.segments import SegmentConfig
    from models.retrieval.metrics import Retrieval

_PROTOCOLS = ("msr_vtt", "audiocaps", "clotho")
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


def run(argv: Sequence[str]) -> int:
    """Evaluates; gives 0, or 2 if it could not."""
    flags = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    from models.retrieval.results_table import as_json, as_markdown

    try:
        with _data(flags) as data:
            measured = measure(flags, data)
    except InputError as reject:
        print(f"clipseed evaluate: {reject.message}", file=sys.stderr)
        return 2
    table = as_markdown(measured.figures, measured.protocol, measured.label)
    text = "\n".join([table, *_notes(measured.facts, flags.leave_out)])
    print(text)
    if flags.output:
        content = as_json(measured.figures, measured.protocol, measured.facts)
        flags.output.write_text(content)
        flags.output.with_suffix(".md").write_text(text + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipseed evaluate",
        description="Text to clip and clip to text: recall at 1, 5 and 10, median and "
        "mean rank; ties count as chance. On the clips of a run (--data), or by a "
        "published protocol, whose videos or sounds are cut first.",
    )
    add = parser.add_argument
    add("model", help="output directory of `clipseed train`")
    add("--data", help="run directory, mined or cut by `clipseed cut-benchmark`")
    add("--protocol", choices=_PROTOCOLS)
    add("--annotations", help="folder of the protocol's annotation files")
    add("--videos", help="folder of its videos or sounds, local or gs://")
    add("--split", default="test", help="of the protocol (test)")
    add("--clips", help="directory to keep the cut clips in, and to find them in")
    add("--modality", choices=["A+V", "V", "A"],
        help="what the model gets of a clip (all that it takes)")  # fmt: skip
    add("--leave_out", action="store_true", help="measure without the clips that are "
        "missing; else they count as found last")  # fmt: skip
    add("--segments", type=int, default=4, help="of a clip, equally spaced (4)")
    add("--batch_size", type=int, default=16)
    add("--output", type=Path, help="JSON file; the table goes beside it as .md")
    return parser


@contextlib.contextmanager
def _data(flags: argparse.Namespace) -> Iterator[str]:
    """The run directory to measure on, cut first where a protocol is named."""
    parts = (flags.protocol, flags.annotations, flags.videos)
    if bool(flags.data) == any(parts) or any(parts) != all(parts):
        raise InputError(
            "usage", "give --data, or --protocol with --annotations and --videos"
        )
    if flags.data:
        yield flags.data
        return
    from clipseed.io.scratch import scratch_folder
    from transforms.benchmarks.cut import cut_benchmark
    from transforms.benchmarks.registry import read_benchmark

    benchmark = read_benchmark(flags.protocol, flags.annotations, flags.split)
    with scratch_folder() as scratch:
        directory = flags.clips or scratch
        cut_benchmark(benchmark, flags.videos, directory)
        yield directory


def measure(flags: argparse.Namespace, run_dir: str) -> Measured:
    """Embeds a run, and measures.

    Raises:
        InputError: model or run cannot be read, or the model has not the modality.
    """
    from models.data.loader import EvaluationData
    from models.retrieval.evaluate import embed_run, evaluate
    from models.training.history import read_lineage, setting
    from models.training.load import load_trained

    trained = load_trained(flags.model)
    modality, without = _modality(flags.modality, trained.config.segment)
    data = EvaluationData(run_dir, trained.config.segment, flags.segments)
    embedded = embed_run(trained.encoder, data, flags.batch_size, without)
    figures = evaluate(embedded, flags.leave_out)
    facts: dict[str, Any] = {"modality": modality, "missing": embedded.missing}
    facts["captions_alike"] = embedded.alike
    if data.run.benchmark is None:
        return Measured(figures, "", flags.modality or "", facts)
    name = data.run.benchmark.name
    lineage = read_lineage(flags.model)
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
