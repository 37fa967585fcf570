"""What the settings of every job that writes a run have in common."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from clipseed.flags import CommandLine
from clipseed.flags.declaration import deciding
from clipseed.hashing import content_id

T = TypeVar("T")


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run: a base of every class of a job's flags."""

    def as_json(self) -> dict[str, Any]:
        """Return the settings as `run.json` keeps them."""
        return _plain(asdict(self))

    def hash(self) -> str:
        """Return a name for the settings that decide the result."""
        return content_id(json.dumps(_plain(deciding(self)), sort_keys=True))


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime.date) else value
        for name, value in settings.items()
    }


def parse_job(
    command_line: CommandLine[T], arguments: Sequence[str]
) -> tuple[T, list[str]]:
    """Parse the flags of a job; return its settings, and the flags left over: Beam's.

    Raises:
        SystemExit: 2, after one line on stderr, if a flag is wrong.
    """
    settings, left = command_line.parse_known(arguments)
    return settings, check_beam_flags(command_line, left)


def check_beam_flags(command_line: CommandLine[Any], flags: list[str]) -> list[str]:
    """Return Beam's flags as Beam expects them.

    Raises:
        SystemExit: 2, after one line on stderr, if Beam does not know one.
    """
    # Not above: the help of a flag must not take the seconds that Beam's import takes.
    from beam_pipeline.mining.beam_flags import known_flags, spell_out, unknown_flags

    beam_flags = spell_out(flags)
    command_line.refuse(unknown_flags(beam_flags), known_flags())
    return beam_flags
