"""A command's flags as a section of the reference, in Markdown."""

from typing import Any

from clipseed.flags.command_line import CommandLine, shown_options
from clipseed.flags.declaration import Flag, FlagGroup, flags_of, groups_of
from clipseed.flags.values import allowed


def section(command: CommandLine[Any]) -> str:
    """Return a command's heading, description and flags."""
    has_hash = any(not f.details.decides_result for f in flags_of(command.flags))
    parts = [f"## {command.name}", command.described]
    for group in groups_of(command.flags):
        parts += _group(group, has_hash)
    return "\n\n".join(parts)


def _group(group: FlagGroup, has_hash: bool) -> list[str]:
    titles = ["Flag", "Value", "Default", "Meaning"]
    if has_hash:
        titles.append("Decides the result")
    rows = [titles, ["---"] * len(titles), *(_row(f, has_hash) for f in group.flags)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    heading = [f"### {group.title}"] if group.title else []
    return [*heading, *([group.description] if group.description else []), table]


def _row(flag: Flag, has_hash: bool) -> list[str]:
    names = ", ".join(f"`{name}`" for name in shown_options(flag) or [flag.option])
    default = "required" if flag.required else flag.default_text
    cells = [names, _value(flag), default, flag.meaning]
    if has_hash:
        cells.append("yes" if flag.details.decides_result else "no")
    return [cell.replace("|", "\\|") for cell in cells]


def _value(flag: Flag) -> str:
    said = "switch" if flag.is_switch else allowed(flag).removeprefix("a ")
    return f"{said}; may be repeated" if flag.repeated else said
