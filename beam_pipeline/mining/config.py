"""A run's settings: the flags of `clipseed mine` as a frozen configuration."""

import os
from collections.abc import Sequence

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
from beam_pipeline.mining.settings import RunSettings, parse_job
from clipseed.flags import CommandLine, flag, flags


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
    RunSettings,
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
    def clip_us(self) -> int:
        """The length of a clip."""
        return round(self.clip_s * 1_000_000)

    @property
    def gap_us(self) -> int:
        """The minimum time between matches of a seed in one video."""
        gap_s = self.clip_s if self.min_gap_s is None else self.min_gap_s
        return round(gap_s * 1_000_000)


def _same_place(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)


COMMAND_LINE = CommandLine(
    "clipseed mine",
    MineConfig,
    "Mine video clips for the captions of images (VideoCC, section 3).",
    others="Apache Beam",
)


def parse_mine(arguments: Sequence[str]) -> tuple[MineConfig, list[str]]:
    """Parse the flags of `clipseed mine`, as `parse_job` does."""
    return parse_job(COMMAND_LINE, arguments)
