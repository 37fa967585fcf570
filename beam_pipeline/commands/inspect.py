"""`clipseed inspect`: what a run holds, in figures and in pictures."""

import sys
from collections.abc import Sequence

from beam_pipeline.report import run_tables
from beam_pipeline.report.contact_sheet import draw_sheet, printable
from beam_pipeline.report.examples import load_examples, survey
from beam_pipeline.report.summary import summary
from beam_pipeline.report.terminal import say, show
from clipseed.elements import Pair
from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags
from clipseed.io import storage
from clipseed.io.gcs import is_gs
from clipseed.run.accounting import PAIRS
from clipseed.run.manifest import MiningFacts
from clipseed.run.outcomes import unaccounted
from clipseed.run.reader import Run

_MAX_EXAMPLES = 200


@flags
class InspectFlags:
    """All flags of `clipseed inspect`."""

    directory: str = flag("Run directory, local or gs://", positional=True)
    verify: bool = flag(
        "Also compare the checksums of all files, and account for every input by id",
        default=False,
    )
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
        lost = list(unaccounted(run)) if given.verify else []
        for problem in lost:
            _fail(problem)
        if lost:
            return _fail(f"{len(lost)} inputs or results are not accounted for")
        chosen = _print_run(run, mining, given.examples)
        if chosen and not given.no_sheet:
            _save_sheet(run, chosen, given.sheet)
    except InputError as error:
        return _fail(error.message)
    return 0


def _fail(problem: str, status: int = 1) -> int:
    say(f"clipseed inspect: {printable(problem)}", to_error=True)
    return status


def _print_run(run: Run, mining: MiningFacts, count: int) -> list[Pair]:
    """Print all but the pictures; return the pairs to draw."""
    show(summary(run.uri, mining))
    say("")
    show(run_tables.accounting(mining.accounting))
    say("")
    show(run_tables.rejected(run))
    first, chosen = survey(run.pairs(), count)
    say("")
    show(run_tables.pairs(first, mining.counts[PAIRS]))
    return chosen


def _save_sheet(run: Run, pairs: list[Pair], sheet: str | None) -> None:
    if sheet is None and is_gs(run.uri):
        return say("\ncontact sheet  none: name a local file with --sheet")
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
    say(f"\ncontact sheet  {uri}")


if __name__ == "__main__":
    sys.exit(run())
