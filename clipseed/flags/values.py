"""A flag's text to its value, and what is allowed in words."""

import datetime
import math
import re
from pathlib import Path
from typing import Any

from clipseed.flags.declaration import Flag


class BadFlag(Exception):
    """A command line that cannot be used: one line that says why.

    argparse would put ValueError and TypeError into words of its own.
    """


def parse_value(flag: Flag, text: str) -> Any:
    """Return the value of a text.

    Raises:
        BadFlag: it is not one that the flag accepts.
    """
    if flag.accepts_none and text.lower() == "none":
        return None
    try:
        value = _convert(flag, text)
    except ValueError:
        value = None
    if value is None or not _within(flag, value):
        raise BadFlag(f"{flag.option} {text}: must be {allowed(flag)}")
    return value


def _convert(flag: Flag, text: str) -> Any:
    details = flag.details
    if details.parse is not None:
        return details.parse(text)
    if flag.choices and text not in flag.choices:
        raise ValueError(text)
    if (
        details.pattern
        and text != flag.default
        and not re.fullmatch(details.pattern, text)
    ):
        raise ValueError(text)
    if flag.kind is datetime.date:
        return datetime.date.fromisoformat(text)
    if flag.kind in (int, float, Path):
        return flag.kind(text)
    return text


def _within(flag: Flag, value: Any) -> bool:
    """Return whether a number is finite and inside the bounds."""
    if not isinstance(value, int | float):
        return True
    details = flag.details
    return (
        math.isfinite(value)
        and (details.above is None or value > details.above)
        and (details.at_least is None or value >= details.at_least)
        and (details.at_most is None or value <= details.at_most)
        and (details.below is None or value < details.below)
    )


def allowed(flag: Flag) -> str:
    """Say what a flag accepts: "a whole number from 0 to 65535"."""
    details = flag.details
    if flag.choices:
        said = _either(flag.choices)
    elif details.expected:
        said = details.expected
    elif flag.kind is datetime.date:
        said = "a date such as 2026-01-31"
    elif flag.kind in (int, float):
        said = f"a {'whole ' if flag.kind is int else ''}number{_bounds(flag)}"
    else:
        said = "text"
    return f"{said}, or none" if flag.accepts_none else said


def _either(choices: tuple[str, ...]) -> str:
    *first, last = choices
    return f"{', '.join(first)} or {last}" if first else last


def _bounds(flag: Flag) -> str:
    details = flag.details
    low, high = details.at_least, details.at_most
    if low is not None and high is not None:
        return f" from {low:g} to {high:.15g}"
    bounds = {
        "above": details.above,
        "of at least": low,
        "of at most": high,
        "below": details.below,
    }
    said = " and ".join(
        f"{n} {value:.15g}" for n, value in bounds.items() if value is not None
    )
    return f" {said}" if said else ""
