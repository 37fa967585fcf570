"""The command line: `clipseed COMMAND ...`.

A command's module declares its flags and loads what the command needs when it runs, so
that help and refusals come at once.
"""

import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from beam_pipeline.termination import Terminated, raising_termination
from clipseed.io.output_errors import output_problem
from clipseed.quiet import quiet_libraries

_RESUMES = "start `mine` and `train` again to resume them"


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
    """Run a command; return the exit status.

    Returns:
        As the command says; 2 for wrong flags or an output that cannot be written, 130
        and 143 if interrupted or terminated, 141 if nobody reads what is printed.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = " ".join(["clipseed", *arguments[:1]])
    try:
        with raising_termination():
            quiet_libraries()
            status = run_command("clipseed", COMMANDS, arguments)
            sys.stdout.flush()
            return status
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt as interrupt:
        is_ended = isinstance(interrupt, Terminated)
        how = "terminated" if is_ended else "interrupted"
        print(f"{name}: {how}; {_RESUMES}", file=sys.stderr)
        return 143 if is_ended else 130
    except BrokenPipeError:
        _discard_stdout()
        return 141
    except OSError as error:
        problem = output_problem(error)
        if not problem:
            raise
        print(f"{name}: {problem}", file=sys.stderr)
        return 2


def program() -> NoReturn:
    """Run a command as a program of its own: `clipseed`.

    A process that was told to end does not wait for the threads of its libraries.
    """
    status = main()
    if status in (130, 143):
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _discard_stdout() -> None:
    """Let the interpreter's last flush fail nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    program()
