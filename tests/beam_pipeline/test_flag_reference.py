"""Every command's help and the reference page say what the declarations say."""

import re
from typing import Any

import pytest

from beam_pipeline.flag_reference import command_lines, page
from clipseed.flags import CommandLine, flags_of, groups_of
from tests.support.paths import ROOT

COMMAND_LINES = list(command_lines())
COMMANDS = pytest.mark.parametrize(
    "command", COMMAND_LINES, ids=[command.name for command in COMMAND_LINES]
)


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_command_declares_its_flags() -> None:
    names = [command.name.removeprefix("clipseed ") for command in COMMAND_LINES]
    assert {"mine", "index build", "index serve", "train", "demo"} <= set(names)
    assert len(names) == len(set(names)) == 14


@COMMANDS
def test_the_help_is_what_is_declared(command: CommandLine[Any]) -> None:
    text = command.format_help()
    listed = re.findall(r"^  (?:--([a-z0-9_]+)|([A-Z]+)\b)", text, re.M)
    declared = flags_of(command.flags)
    places = [f.name for f in declared if f.details.positional]
    named = [f.name for f in declared if not f.details.positional]
    assert [a or b.lower() for a, b in listed] == [*places, *named]
    assert words(command.description) in words(text)
    for flag in declared:
        assert words(flag.help) in words(text)
    for group in groups_of(command.flags):
        assert not group.title or f"\n{group.title}:\n" in text


@COMMANDS
def test_every_flag_has_help_in_house_style(command: CommandLine[Any]) -> None:
    for flag in flags_of(command.flags):
        said = flag.details.help
        assert len(said) > 5 and not said.endswith("."), flag.name
        assert said[0].isupper() or said.split()[0].rstrip(":,") in flag.choices + (
            "base",
        ), flag.name
        assert flag.help.count("default:") <= 1


def test_the_reference_page_is_the_generated_one() -> None:
    made = (ROOT / "docs" / "flags.md").read_text()
    remedy = "python -m beam_pipeline.flag_reference > docs/flags.md"
    assert made == page() + "\n", f"flags have changed: {remedy}"


def test_the_reference_page_lists_every_flag() -> None:
    text = page()
    for command in COMMAND_LINES:
        section = text.partition(f"## {command.name}\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| `?-*(\w+)", section, re.M)
        names = [row.lower() for row in rows if row != "Flag"]
        assert names == [flag.name for flag in flags_of(command.flags)]
