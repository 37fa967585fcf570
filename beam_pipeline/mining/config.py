"""A run's settings: the flags of `clipseed mine` as a frozen configuration."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from beam_pipeline.mining.flags import (
    ClipFlags,
    DecodingFlags,
    DownloadFlags,
    EmbedderFlags,
    EmbeddingCacheFlags,
    ExternalIndexFlags,
    FilterFlags,
    MatchFlags,
    OutputFlags,
    SamplingFlags,
    SeedFlags,
    VideoFlags,
)
from clipseed.flags import CommandLine, flag, flags
from clipseed.flags.declaration import deciding
from clipseed.hashing import content_id


@flags
class MineConfig(
    SeedFlags,
    VideoFlags,
    OutputFlags,
    FilterFlags,
    EmbedderFlags,
    SamplingFlags,
    MatchFlags,
    ExternalIndexFlags,
    ClipFlags,
    EmbeddingCacheFlags,
    DecodingFlags,
    DownloadFlags,
):
    """All of a run's settings."""

    merge_with: str | None = flag(
        "Base run: a finished run over other videos with the same seeds and settings. "
        "The result is that of one run over all videos; those of the base run are not "
        "decoded again",
        default=None,
        remote=("gs",),
    )

    def __post_init__(self) -> None:
        """Raise ValueError if flags exclude each other."""
        super().__post_init__()
        base = self.merge_with
        if base is not None and _same_place(base, self.output):
            raise ValueError(
                "--merge_with: must not be --output; the base run stays as it is"
            )

    @property
    def gap_us(self) -> int:
        """The minimum time between matches of a seed in one video."""
        gap_s = self.clip_s if self.min_gap_s is None else self.min_gap_s
        return round(gap_s * 1_000_000)

    def as_json(self) -> dict[str, object]:
        """Return the settings as `run.json` keeps them."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}

    def hash(self) -> str:
        """Return a name for the settings that decide the result."""
        kept = deciding(self) | {"as_of": self.as_of.isoformat()}
        return content_id(json.dumps(kept, sort_keys=True))


def _same_place(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)


COMMAND_LINE = CommandLine(
    "clipseed mine",
    MineConfig,
    "Mine video clips for the captions of images (VideoCC, section 3).",
    others="Apache Beam",
)


def parse_mine(arguments: Sequence[str]) -> tuple[MineConfig, list[str]]:
    """Parse the flags of `clipseed mine`.

    Returns:
        The configuration, and the flags left over: Beam's.

    Raises:
        SystemExit: 2, after one line on stderr, if a flag is wrong.
    """
    config, left = COMMAND_LINE.parse_known(arguments)
    return config, check_beam_flags(COMMAND_LINE, left)


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
