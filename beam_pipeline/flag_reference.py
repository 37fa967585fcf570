"""The reference page of all commands' flags, docs/flags.md.

python -m beam_pipeline.flag_reference > docs/flags.md
"""

from collections.abc import Iterator, Mapping
from typing import Any

from beam_pipeline.cli import COMMANDS, Command, load
from clipseed.flags import CommandLine
from clipseed.flags.reference import section

_HEAD = """# Flags

Every flag of every command. This page is generated from the flags' declarations:
`python -m beam_pipeline.flag_reference > docs/flags.md`.

A switch is `--x` or `--no_x`; templates may write `--x=true` and `--x=false`. `none`
turns a default off where it is listed as a value. Flags that decide the result are
hashed into `config_hash` of `run.json`."""


def page() -> str:
    """Return the page, less its last line end."""
    return "\n\n".join([_HEAD, *(section(command) for command in command_lines())])


def command_lines(
    commands: Mapping[str, Command] = COMMANDS,
) -> Iterator[CommandLine[Any]]:
    """Yield the command line of every command, those of subcommands included."""
    for command in commands.values():
        module = load(command)
        if hasattr(module, "COMMANDS"):
            yield from command_lines(module.COMMANDS)
        else:
            yield module.COMMAND_LINE


if __name__ == "__main__":
    print(page())
