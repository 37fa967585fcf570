"""`clipseed inspect`: what a run holds, in figures and in pictures."""

import sys
from collections.abc import Iterable, Sequence

from beam_pipeline.report.contact_sheet import draw_sheet, printable
from beam_pipeline.report.examples import clip_times, load_examples, survey
from beam_pipeline.report.summary import summary
from clipseed.elements import Pair
from clipseed.errors import DeadLetter, InputError
from clipseed.flags import CommandLine, flag, flags
from clipseed.io import storage
from clipseed.io.gcs import is_gs
from clipseed.run.accounting import PAIRS, StageAccount
from clipseed.run.manifest import MiningFacts
from clipseed.run.reader import Run

_MAX_EXAMPLES = 200
_LINE_CHARS = 200


@flags
class InspectFlags:
    """All flags of `clipseed inspect`."""

    directory: str = flag("Run directory, local or gs://", positional=True)
    verify: bool = flag("Also compare the checksums of all files", default=False)
    sheet: str | None = flag(
        "PNG file of the contact sheet, local or gs://",
        default=None,
        default_text="contact_sheet.png in a local run directory",
    )
    no_sheet: bool = flag("Do not draw a contact sheet", default=False)
    examples: int = flag(
        "Rows of the contact sheet", default=12, at_least=1, at_most=_MAX_EXAMPLES
    )


COMMAND_LINE = CommandLine(
    "clipseed inspect",
    InspectFlags,
    "Print what a run directory holds, and draw a contact sheet of its clips.",
)


def run(argv: Sequence[str] | None = None) -> int:
    """Run `clipseed inspect`; return the exit status.

    0: the run is whole; 1: files are missing or damaged, or the sheet cannot be
    written; 2: there is no finished run.
    """
    given = COMMAND_LINE.parse(sys.argv[1:] if argv is None else argv)
    try:
        run = Run.open(given.directory, verify="nothing")
        mining = run.mining
    except InputError as error:
        return _fail(error.message, 2)
    problems = list(run.problems("checksums" if given.verify else "sizes"))
    for problem in problems:
        _fail(problem)
    if problems:
        files = f"{len(problems)} of {len(run.manifest.files)} files"
        return _fail(f"{files} are missing or damaged: copy them again, or mine again")
    try:
        chosen = _print_run(run, mining, given.examples)
        if chosen and not given.no_sheet:
            _save_sheet(run, chosen, given.sheet)
    except InputError as error:
        return _fail(error.message)
    return 0


def _fail(problem: str, status: int = 1) -> int:
    _say(f"clipseed inspect: {printable(problem)}", to_error=True)
    return status


def _say(text: str, to_error: bool = False) -> None:
    """Print; escape with a backslash what the encoding of the terminal lacks."""
    stream = sys.stderr if to_error else sys.stdout
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


# --- figures -------------------------------------------------------------------------


def _print_run(run: Run, mining: MiningFacts, count: int) -> list[Pair]:
    """Print all but the pictures; return the pairs to draw."""
    _say(summary(run.uri, mining))
    _say(f"\n{accounting_text(mining.accounting)}\n\n{rejected_text(run)}")
    first, chosen = survey(run.pairs(), count)
    _say(f"\n{pairs_text(first, mining.counts[PAIRS])}")
    return chosen


def accounting_text(stages: Iterable[StageAccount]) -> str:
    """Return what came into each stage, what went out, and what was dropped why."""
    lines = [f"{'accounting':16s}  {'in':>8s}  {'out':>8s}  dropped"]
    for stage in stages:
        dropped = [f"{count} {why}" for why, count in stage.dropped.items() if count]
        note = "" if stage.balanced else "  (DOES NOT BALANCE)"
        figures = f"{stage.stage:14s}  {stage.inputs:8d}  {stage.outputs:8d}"
        lines.append(f"  {figures}  {', '.join(dropped)}{note}".rstrip())
    return "\n".join(lines)


def rejected_text(run: Run) -> str:
    """Return the dead letters by stage and reason, with an example each."""
    counts: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], DeadLetter] = {}
    for dead_letter in run.dead_letters():
        kind = dead_letter.stage, dead_letter.reason
        counts[kind] = counts.get(kind, 0) + 1
        first.setdefault(kind, dead_letter)
    if not counts:
        return "nothing was rejected"
    lines = [
        f"  {counts[kind]:5d}  {kind[0]}: {kind[1]}, such as "
        + _one_line(f"{dead_letter.key}: {dead_letter.message}")
        for kind, dead_letter in sorted(first.items())
    ]
    return "\n".join(["rejected", *lines])


def pairs_text(first: Sequence[Pair], count: int) -> str:
    """Return the first pairs, a line each, of so many."""
    lines = [
        f"  {clip_times(pair)}  {pair.similarity:.3f}  #{pair.rank:<2d} "
        f"{pair.sound:7s}  {_one_line(pair.video)}  {_one_line(pair.caption)}"
        for pair in first
    ]
    return "\n".join([f"pairs, {len(lines)} of {count}", *lines])


def _one_line(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LINE_CHARS else text[: _LINE_CHARS - 1] + "…"


# --- pictures ------------------------------------------------------------------------


def _save_sheet(run: Run, pairs: list[Pair], sheet: str | None) -> None:
    if sheet is None and is_gs(run.uri):
        return _say("\ncontact sheet  none: name a local file with --sheet")
    uri = sheet or storage.join(run.uri, "contact_sheet.png")
    mining = run.mining
    title = (
        f"{len(pairs)} of {mining.counts[PAIRS]} pairs, the best and the weakest above "
        f"{mining.threshold:g}: {run.uri}"
    )
    picture = draw_sheet(title, load_examples(run, pairs, _fail))
    try:
        with storage.writing(uri) as local_path:
            picture.save(local_path, format="PNG")
    except OSError as error:
        message = (
            f"the contact sheet cannot be written to {uri} ({error}): give --sheet"
        )
        raise InputError("unwritable", message) from error
    _say(f"\ncontact sheet  {uri}")


if __name__ == "__main__":
    sys.exit(run())
