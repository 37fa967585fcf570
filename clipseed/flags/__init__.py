"""Command-line flags, each declared once as a field of a frozen dataclass."""

from clipseed.flags.command_line import CommandLine
from clipseed.flags.declaration import Flag, FlagGroup, flag, flags, flags_of, groups_of

__all__ = ["CommandLine", "Flag", "FlagGroup", "flag", "flags", "flags_of", "groups_of"]
