"""The parser of a command's flags, derived from their declarations."""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from clipseed.flags.declaration import Flag, FlagGroup, flags_of, groups_of
from clipseed.flags.values import BadFlag, parse_value

T = TypeVar("T")
_HELP_COLUMN = 30
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", date: "DATE"}


class CommandLine(Generic[T]):
    """A command, its description and its flags.

    Attributes:
        name: as typed, such as "clipseed mine".
        flags: the class of flags; its instance is what `parse` returns.
        description: one or two sentences, the first an imperative.
        others: whose flags are accepted as well, such as "Apache Beam"; "" for none.
    """

    def __init__(
        self, name: str, flags: type[T], description: str, others: str = ""
    ) -> None:
        self.name = name
        self.flags = flags
        self.description = description
        self.others = others

    def parse(self, arguments: Sequence[str]) -> T:
        """Return the flags.

        Raises:
            SystemExit: 2, after one line on stderr, if a flag is wrong; 0 after
                `--help`.
        """
        flags, left = self.parse_known(arguments)
        self.refuse(left)
        return flags

    def parse_known(self, arguments: Sequence[str]) -> tuple[T, list[str]]:
        """Return the flags, and the arguments that are not this command's.

        Raises:
            SystemExit: as `parse`.
        """
        try:
            given, left = self._parser().parse_known_args(
                _bare_switches(arguments, flags_of(self.flags))
            )
            self._require(vars(given))
            return self.flags(**_frozen(vars(given))), left
        except (BadFlag, ValueError) as error:  # The latter: two exclude each other.
            self._refuse_mistyped(arguments)
            self.fail(str(error))

    def refuse(self, unknown: Sequence[str], more_names: Iterable[str] = ()) -> None:
        """End the program if there are arguments that nobody knows.

        Args:
            unknown: what was left over.
            more_names: of flags that are known beside this command's own.

        Raises:
            SystemExit: 2, after one line on stderr.
        """
        if not unknown:
            return
        first = next((a for a in unknown if a.startswith("-")), unknown[0])
        if not first.startswith("-"):
            self.fail(f"unexpected argument {first!r}")
        option = first.partition("=")[0]
        near = self._nearest(option, more_names)
        hint = f"did you mean --{near}?" if near else f"see `{self.name} --help`"
        self.fail(f"unknown flag {option}; {hint}")

    def _refuse_mistyped(self, arguments: Sequence[str]) -> None:
        """Refuse a flag that resembles one of ours, before what its absence causes."""
        given = [a.partition("=")[0] for a in arguments if a.startswith("--")]
        for option in given:
            if option not in self._options() and (near := self._nearest(option)):
                self.fail(f"unknown flag {option}; did you mean --{near}?")

    def _nearest(self, option: str, more_names: Iterable[str] = ()) -> str:
        """Return the known name that an option resembles most; "" for none."""
        name = option.lstrip("-").replace("-", "_")
        names = [o.removeprefix("--") for o in self._options()]
        near = difflib.get_close_matches(name, [*names, *more_names], 1, 0.7)
        return near[0] if near else ""

    def fail(self, message: str) -> NoReturn:
        """End the program with status 2 and one line on stderr."""
        print(f"{self.name}: {message}", file=sys.stderr)
        raise SystemExit(2)

    def format_help(self) -> str:
        """Return what `--help` prints."""
        return self._parser().format_help()

    @property
    def described(self) -> str:
        """The description, and where other flags go."""
        if not self.others:
            return self.description
        return f"{self.description} Flags that are not listed here go to {self.others}."

    def _options(self) -> list[str]:
        return [o for flag in flags_of(self.flags) for o in options_of(flag)]

    def _require(self, given: dict[str, Any]) -> None:
        wanted = (f for f in flags_of(self.flags) if f.required)
        missing = [f.option for f in wanted if f.name not in given]
        if missing:
            raise BadFlag(f"{', '.join(missing)}: required; see `{self.name} --help`")

    def _parser(self) -> "_Parser":
        parser = _Parser(
            prog=self.name,
            usage=self._usage(),
            description=self.described,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=_Formatter,
        )
        parser._positionals.title, parser._optionals.title = "Arguments", "Options"
        for group in groups_of(self.flags):
            _add_group(parser, group)
        return parser

    def _usage(self) -> str:
        flags = flags_of(self.flags)
        places = [metavar(f) for f in flags if f.details.positional]
        needed = [f"{f.option} {metavar(f)}" for f in flags
                  if f.required and not f.details.positional]  # fmt: skip
        return " ".join([self.name, *places, *needed, "[FLAGS]"])


def metavar(flag: Flag) -> str:
    """Return what the help shows in the place of a flag's value."""
    if flag.details.positional:
        return flag.name.upper()
    if flag.choices:
        return "{" + ",".join(flag.choices) + "}"
    if flag.details.metavar:
        return flag.details.metavar
    return "PATH" if flag.details.remote else _METAVARS[flag.kind]


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print below the whole usage."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (\S+?)(?:/\S+)?: ", r"\1: ", message)
        missing = re.fullmatch("the following arguments are required: (.*)", message)
        if missing:
            message = f"{missing[1].upper()}: required; see `{self.prog} --help`"
        raise BadFlag(message)


class _Switch(argparse.Action):
    """Sets True by `--x` and False by `--no_x`."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any):
        super().__init__(option_strings, dest, nargs=0, **settings)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Set the value."""
        setattr(namespace, self.dest, option_string == f"--{self.dest}")


class _Formatter(argparse.HelpFormatter):
    """A narrow column of flags, so that their explanation has room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_HELP_COLUMN)

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Break between words only: a command's name has hyphens."""
        return textwrap.wrap(text, width, break_on_hyphens=False)


def _add_group(parser: argparse.ArgumentParser, group: FlagGroup) -> None:
    places = [flag for flag in group.flags if flag.details.positional]
    for flag in places:
        _add(parser, flag)
    into: Any = parser
    if group.title:
        into = parser.add_argument_group(group.title, group.description or None)
    for flag in group.flags:
        if flag not in places:
            _add(into, flag)


def _add(group: Any, flag: Flag) -> None:
    settings: dict[str, Any] = {"help": flag.help.replace("%", "%%")}
    if flag.is_switch:
        _add_switch(group, flag, settings)
        return
    settings |= {"metavar": metavar(flag), "type": lambda text: parse_value(flag, text)}
    if flag.repeated:
        settings["action"] = "append"
    if flag.details.positional:
        group.add_argument(flag.name, **settings)
    else:
        group.add_argument(f"--{flag.name}", **settings)


def _add_switch(group: Any, flag: Flag, settings: dict[str, Any]) -> None:
    """Add a switch; what turns it off is hidden where it is off unless given."""
    settings |= {"dest": flag.name, "action": _Switch}
    shown = shown_options(flag)
    group.add_argument(*shown, **settings)
    hidden = [option for option in options_of(flag) if option not in shown]
    if hidden:
        group.add_argument(*hidden, **settings | {"help": argparse.SUPPRESS})


def shown_options(flag: Flag) -> list[str]:
    """Return the names that the help shows: all but what turns off what is off."""
    options = options_of(flag)
    return options if flag.default is True else options[:1]


def options_of(flag: Flag) -> list[str]:
    """Return the names of a flag on the command line."""
    if flag.details.positional:
        return []
    return [flag.option, flag.negation] if flag.negation else [flag.option]


def _bare_switches(arguments: Sequence[str], flags: Sequence[Flag]) -> list[str]:
    """Turn switches as templates give them, `--x=true`, to bare ones, `--x`."""
    switches = {f"--{flag.name}": flag for flag in flags if flag.is_switch}
    bare: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in switches or not equals:
            bare.append(argument)
        elif value.lower() in ("true", "false"):
            options = options_of(switches[name])
            on = value.lower() == "true"
            bare += options[:1] if on else options[1:]
        else:
            raise BadFlag(f"{name} {value}: must be true or false")
    return bare


def _frozen(given: dict[str, Any]) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
