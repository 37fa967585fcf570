"""One declaration a flag: the parser, its help and its refusals follow from it."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from clipseed.flags import CommandLine, flag, flags, flags_of, groups_of
from clipseed.flags.declaration import deciding


@flags
class Paint:
    """Paint.

    Colors, and what they cost.
    """

    color: Literal["red", "blue"] = flag("Color of the wall", default="red")
    layers: int | None = flag("Number of layers", default=2, at_least=1, at_most=9)
    drying_h: float = flag("Drying time", unit="hours", default=0.5, above=0)
    gloss: bool = flag("Glossy finish", default=False, decides_result=False)


@flags
class Job(Paint):
    wall: Path = flag("The wall", positional=True)
    owner: str = flag("Who pays")
    tools: tuple[str, ...] = flag("A tool", default=())
    day: datetime.date | None = flag("Day of the job", default=None)
    cover: bool = flag("Cover the carpet", default=True)
    code: str = flag("Door code", default="", pattern="[0-9]{4}", expected="4 digits")
    weight: int = flag(
        "Weight", default=0, parse=lambda text: int(text.removesuffix("kg"))
    )

    def __post_init__(self) -> None:
        if self.color == "blue" and self.gloss:
            raise ValueError("--gloss: there is no glossy blue")


PAINT = CommandLine("paint", Job, "Paint a wall.")
NEEDED = ("north", "--owner=me")


def test_defaults_are_those_of_the_fields() -> None:
    assert PAINT.parse(NEEDED) == Job(wall=Path("north"), owner="me")


def test_every_kind_of_value_is_read() -> None:
    given = PAINT.parse(
        ["--owner", "me", "--color=blue", "--layers=NONE", "--drying_h", "1e1",
         "--tools=brush", "--tools=roll", "--day=2026-01-31", "--no_cover",
         "--code=0123", "--weight=3kg", "north"],
    )  # fmt: skip
    assert given == Job(
        wall=Path("north"), owner="me", color="blue", layers=None, drying_h=10.0,
        tools=("brush", "roll"), day=datetime.date(2026, 1, 31), cover=False,
        code="0123", weight=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "changed"),
    [("--gloss", True), ("--gloss=true", True), ("--gloss=False", False),
     ("--no_gloss", False)],
)  # fmt: skip
def test_a_switch_may_have_a_value(argument: str, changed: bool) -> None:
    assert PAINT.parse([*NEEDED, argument]).gloss is changed


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        PAINT.parse(arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith("paint: ") and err.count("\n") == 1
    return err.removeprefix("paint: ").rstrip()


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--color=green", "--color green: must be red or blue"),
        ("--layers=0", "--layers 0: must be a whole number from 1 to 9, or none"),
        ("--layers=10", "--layers 10: must be a whole number from 1 to 9, or none"),
        ("--layers=1.5", "--layers 1.5: must be a whole number from 1 to 9, or none"),
        ("--drying_h=nan", "--drying_h nan: must be a number above 0"),
        ("--drying_h=inf", "--drying_h inf: must be a number above 0"),
        ("--drying_h=none", "--drying_h none: must be a number above 0"),
        ("--day=31.1.", "--day 31.1.: must be a date such as 2026-01-31"),
        ("--code=12345", "--code 12345: must be 4 digits"),
        ("--weight=heavy", "--weight heavy: must be a whole number"),
        ("--gloss=maybe", "--gloss maybe: must be true or false"),
        ("--owner", "--owner: expected one argument"),
        ("--colors=red", "unknown flag --colors; did you mean --color?"),
        ("--no-cover", "unknown flag --no-cover; did you mean --no_cover?"),
        ("--ow=me", "unknown flag --ow; see `paint --help`"),
        ("south", "unexpected argument 'south'"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(
    argument: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal([*NEEDED, argument], capsys) == problem


def test_flags_that_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal([*NEEDED, "--color=blue", "--gloss"], capsys)
    assert said == "--gloss: there is no glossy blue"


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(["north"], capsys) == "--owner: required; see `paint --help`"
    assert refusal(["--owner=me"], capsys) == "WALL: required; see `paint --help`"


def test_what_is_not_known_is_left_over() -> None:
    given, left = PAINT.parse_known([*NEEDED, "--runner", "Flink", "--x=1"])
    assert (given.owner, left) == ("me", ["--runner", "Flink", "--x=1"])


HELP = """\
usage: paint WALL --owner TEXT [FLAGS]

Paint a wall.

Arguments:
  WALL                 The wall

Options:
  -h, --help           show this help message and exit
  --owner TEXT         Who pays
  --tools TEXT         A tool
  --day DATE           Day of the job
  --cover, --no_cover  Cover the carpet (default: true)
  --code TEXT          Door code
  --weight INT         Weight (default: 0)

Paint:
  Colors, and what they cost.

  --color {red,blue}   Color of the wall (default: red)
  --layers INT         Number of layers (default: 2)
  --drying_h FLOAT     Drying time, in hours (default: 0.5)
  --gloss              Glossy finish
"""


def test_the_help_follows_from_the_declarations(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert PAINT.format_help() == HELP
    with pytest.raises(SystemExit) as caught:
        PAINT.parse(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr() == (HELP, "")


def test_groups_are_the_classes() -> None:
    own, paint = groups_of(Job)
    assert (own.title, paint.title) == ("", "Paint")
    assert paint.flags == flags_of(Paint)
    assert [f.name for f in own.flags if f.required] == ["wall", "owner"]


def test_only_what_decides_the_result_is_hashed() -> None:
    kept = deciding(PAINT.parse([*NEEDED, "--gloss", "--layers=3"]))
    assert kept["layers"] == 3 and "gloss" not in kept
