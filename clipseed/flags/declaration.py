"""How a flag is declared, and how declarations are read.

    @flags
    class SamplingFlags:
        "Frames"  # Its docstring is its heading in the help.

        sample_fps: float = flag("Frames sampled per second", default=1.0, above=0)

    @flags
    class MineConfig(VideoFlags, SamplingFlags):
        ...

A class of flags is a frozen dataclass: its instance is what a command runs with. A
command composes its class from the groups it needs. The parser (`command_line`), the
reference page (`reference`), the parameters of the flex template and the hash of a
run's settings are derived from the fields, so that a flag is added by declaring it and
using it.

tyro derives a parser from dataclasses as well. Ours remains because with tyro an error
takes 3 to 12 boxed lines, `--x none` is refused, and what is left over for Beam
cannot be told from a mistyped flag.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass
from typing import Any, Literal, TypeVar, dataclass_transform

T = TypeVar("T")
_KEY = "flag"


@dataclass(frozen=True)
class _Details:
    """What a declaration says beyond the field's name, type and default."""

    help: str
    unit: str
    source: str
    default_text: str
    above: float | None
    at_least: float | None
    at_most: float | None
    below: float | None
    pattern: str
    expected: str
    metavar: str
    parse: Callable[[str], Any] | None
    remote: tuple[str, ...]
    positional: bool
    decides_result: bool


def flag(
    help: str,
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    unit: str = "",
    source: str = "",
    default_text: str = "",
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    pattern: str = "",
    expected: str = "",
    metavar: str = "",
    parse: Callable[[str], Any] | None = None,
    remote: tuple[str, ...] = (),
    positional: bool = False,
    decides_result: bool = True,
) -> Any:
    """Declare a flag; its name and type are those of the field.

    A `bool` is a switch, `--x` or `--no_x`; a `Literal` has choices; `X | None` accepts
    `none` where the default is another value; `tuple[str, ...]` may be repeated.

    Args:
        help: a noun phrase or an imperative, without its unit and default.
        default: where there is none, the flag is required.
        default_factory: as of `dataclasses.field`.
        unit: such as "days"; shown as ", in days".
        source: where the default is from; shown beside it.
        default_text: shown in place of a default that is found out later.
        above: exclusive lower bound.
        at_least: inclusive lower bound.
        at_most: inclusive upper bound.
        below: exclusive upper bound.
        pattern: regular expression of the whole value.
        expected: what `pattern` or `parse` accepts, in words: "a size such as 2GiB".
        metavar: what the help shows for a value; by default PATH or the type.
        parse: converts the text; raises ValueError.
        remote: the URL schemes by which workers in a cloud reach the value, a path.
        positional: given by place, not by name.
        decides_result: whether another value may yield another result. What only
            decides how the result is reached does not enter the settings' hash.
    """
    details = _Details(
        help, unit, source, default_text, above, at_least, at_most, below, pattern,
        expected, metavar, parse, remote, positional, decides_result,
    )  # fmt: skip
    settings = {"default": default, "default_factory": default_factory}
    return dataclasses.field(
        **{name: value for name, value in settings.items() if value is not MISSING},
        metadata={_KEY: details},
    )


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(flag,)
)
def flags(cls: type[T]) -> type[T]:
    """Make a class of flags: a frozen dataclass that is built by keyword."""
    return dataclass(frozen=True, kw_only=True)(cls)


@dataclass(frozen=True)
class Flag:
    """A flag as its declaration reads.

    Attributes:
        name: of the field; `--name` on the command line.
        kind: the type of a value: bool, int, float, str, Path or date.
        choices: the allowed values; () for any.
        required: whether there is no default.
        default: MISSING where the flag is required, or a factory makes it.
        nullable: whether the value may be None.
        repeated: whether the flag may be given several times.
        details: the rest of the declaration.
    """

    name: str
    kind: type
    choices: tuple[str, ...]
    required: bool
    default: Any
    nullable: bool
    repeated: bool
    details: _Details

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.kind is bool

    @property
    def accepts_none(self) -> bool:
        """Whether `none` on the command line turns the flag's default off."""
        return self.nullable and self.default not in (None, MISSING)

    @property
    def option(self) -> str:
        """The flag as it is given: `--name`, or the name of a place."""
        return self.name.upper() if self.details.positional else f"--{self.name}"

    @property
    def negation(self) -> str:
        """What turns a switch off; "" where there is nothing like it."""
        has_one = self.is_switch and not self.name.startswith("no_")
        return f"--no_{self.name}" if has_one else ""

    @property
    def help(self) -> str:
        """The full help text: what it is, its unit, its default."""
        shown = self.default_text
        return f"{self.meaning} (default: {shown})" if shown else self.meaning

    @property
    def meaning(self) -> str:
        """What the flag is, with its unit."""
        unit = self.details.unit
        return f"{self.details.help}, in {unit}" if unit else self.details.help

    @property
    def default_text(self) -> str:
        """The default in words, and where it is from; "" where nothing is shown."""
        shown = self.details.default_text or self.default_shown
        return f"{shown}; {self.details.source}" if self.details.source else shown

    @property
    def default_shown(self) -> str:
        """The default as it would be given; "" where there is nothing to show."""
        if self.is_switch:
            return "true" if self.default is True else ""
        if self.default in (MISSING, None, "", ()):
            return ""
        if self.kind is float and isinstance(self.default, float):
            return f"{self.default:g}" if abs(self.default) < 1e5 else str(self.default)
        return str(self.default)


@dataclass(frozen=True)
class FlagGroup:
    """Flags that are explained together; the title of a command's own ones is ""."""

    title: str
    description: str
    flags: tuple[Flag, ...]


def groups_of(cls: type) -> tuple[FlagGroup, ...]:
    """Return a class's groups: its own flags first, then its bases' as listed."""
    return tuple(_walk(cls, is_root=True))


def flags_of(cls: type) -> tuple[Flag, ...]:
    """Return a class's flags in the order of the help."""
    return tuple(flag for group in groups_of(cls) for flag in group.flags)


def _walk(cls: type, is_root: bool = False) -> list[FlagGroup]:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    own = tuple(
        _read(fields[name], hints[name])
        for name in inspect.get_annotations(cls)
        if name in fields
    )
    title, _, description = ("", "", "") if is_root else _heading(cls)
    groups = [FlagGroup(title, description, own)] if own else []
    for base in cls.__bases__:
        if dataclasses.is_dataclass(base):
            groups += _walk(base)
    return groups


def _heading(cls: type) -> tuple[str, str, str]:
    """Split a group's docstring: its first line is the title."""
    title, between, rest = (inspect.getdoc(cls) or "").partition("\n")
    return title.strip().rstrip("."), between, " ".join(rest.split())


def _read(field: "dataclasses.Field[Any]", hint: Any) -> Flag:
    options = set(typing.get_args(hint)) if _is_union(hint) else {hint}
    nullable = type(None) in options
    (kind,) = options - {type(None)}
    choices: tuple[str, ...] = ()
    repeated = typing.get_origin(kind) is tuple
    if repeated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is Literal:
        choices, kind = typing.get_args(kind), str
    details = field.metadata[_KEY]
    required = field.default is MISSING and field.default_factory is MISSING
    return Flag(
        field.name, kind, choices, required, field.default, nullable, repeated, details
    )


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def deciding(settings: Any) -> dict[str, Any]:
    """Return the settings that decide the result, by name."""
    return {
        flag.name: getattr(settings, flag.name)
        for flag in flags_of(type(settings))
        if flag.details.decides_result
    }
