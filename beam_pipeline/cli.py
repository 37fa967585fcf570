"""The command line: `clipseed COMMAND ...`.

A command's module declares its flags and loads what the command needs when it runs, so
that help and refusals come at once.
"""

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from clipseed.quiet import quiet_libraries

_INTERRUPTED = "interrupted; start `mine` and `train` again to resume them"


class Command(NamedTuple):
    """A command: where it is, and what it does in a line."""

    module: str
    summary: str


COMMANDS = {
    "mine": Command(
        "beam_pipeline.commands.mine", "mine video clips for the captions of images"
    ),
    "transcribe": Command(
        "beam_pipeline.commands.transcribe",
        "cut the clips of what is said in videos, captioned by it",
    ),
    "caption": Command(
        "beam_pipeline.commands.caption",
        "cut videos into clips, captioned by a captioner of images",
    ),
    "inspect": Command(
        "beam_pipeline.commands.inspect",
        "print what a run directory holds, and draw a contact sheet",
    ),
    "estimate-cost": Command(
        "beam_pipeline.commands.estimate_cost", "estimate the cost of mining a corpus"
    ),
    "index": Command(
        "beam_pipeline.commands.index", "build, audit or serve an index of seeds"
    ),
    "cut-benchmark": Command(
        "beam_pipeline.commands.cut_benchmark",
        "cut the clips of a published benchmark into a run directory",
    ),
    "train": Command(
        "beam_pipeline.commands.train", "train a retrieval model on the clips of runs"
    ),
    "evaluate": Command(
        "beam_pipeline.commands.evaluate",
        "measure a trained model on the clips of a run or by a published protocol",
    ),
    "index-clips": Command(
        "beam_pipeline.commands.index_clips",
        "index the clips of a run by a trained model",
    ),
    "search": Command("beam_pipeline.commands.search", "find clips by a description"),
    "demo": Command(
        "beam_pipeline.commands.demo",
        "render a small corpus, mine it, and check what was found",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status: 2 for wrong flags, 130 if interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    quiet_libraries()
    try:
        return run_command("clipseed", COMMANDS, arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        print(f"clipseed {arguments[0]}: {_INTERRUPTED}", file=sys.stderr)
        return 130


def run_command(
    name: str, commands: Mapping[str, Command], arguments: Sequence[str]
) -> int:
    """Run the command that the first argument names; return its exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage(name, commands))
        return 0 if arguments else 2
    command = commands.get(arguments[0])
    if command is None:
        near = difflib.get_close_matches(arguments[0], commands, 1)
        hint = f"did you mean {near[0]}?" if near else f"see `{name} --help`"
        print(f"{name}: unknown command {arguments[0]!r}; {hint}", file=sys.stderr)
        return 2
    return load(command).run(arguments[1:])


def usage(name: str, commands: Mapping[str, Command]) -> str:
    """Return the list of commands, a line each."""
    width = max(map(len, commands))
    lines = [f"  {key:{width}}  {what.summary}" for key, what in commands.items()]
    listed = "\n".join(lines)
    return (
        f"usage: {name} COMMAND [FLAGS]\n\nCommands:\n{listed}\n\n"
        f"`{name} COMMAND --help` lists a command's flags."
    )


def load(command: Command) -> Any:
    """Return a command's module."""
    return importlib.import_module(command.module)


if __name__ == "__main__":
    sys.exit(main())
