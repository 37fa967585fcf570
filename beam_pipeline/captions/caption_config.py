"""The settings of `clipseed caption`, declared as flags."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import ClassVar, Literal

from beam_pipeline.mining.config import check_beam_flags
from beam_pipeline.mining.flags import (
    AcceleratorFlags,
    ClipFlags,
    DecodingFlags,
    DownloadFlags,
    FilterFlags,
    OutputFlags,
    VideoFlags,
)
from clipseed.flags import CommandLine, flag, flags
from clipseed.flags.declaration import deciding
from clipseed.hashing import content_id


@flags
class CaptionerFlags(AcceleratorFlags):
    """Captioner."""

    captioner: str = flag(
        "Image captioner: hf:ID[@REVISION] or a directory (a published BLIP, GIT or "
        "ViT-GPT2)",
    )
    beams: int = flag(
        "Captions that are tried at each token (beam search); 1: the likeliest token "
        "alone",
        default=3,
        at_least=1,
    )
    max_tokens: int = flag(
        "Maximum number of tokens in a caption; a longer one is a dead letter",
        default=32,
        at_least=2,
    )


@flags
class CaptionedFrameFlags:
    """Frames."""

    sample_fps: float | None = flag(
        "Frames captioned per second",
        default=None,
        default_text="the middle frame of each clip",
        above=0,
    )
    sampling: Literal["exact", "keyframe"] = flag(
        "exact: the frame shown at each instant; keyframe: the nearest keyframe, at a "
        "tenth of the cost",
        default="exact",
    )
    part_s: float = flag(
        "Length of the video parts that workers sample",
        unit="seconds",
        default=120.0,
        above=0,
    )


@flags
class ChoiceFlags:
    """Choice of captions."""

    choose: Literal["likelihood", "consensus"] = flag(
        "Which captions of a clip's frames are its own: the likeliest, or those that "
        "share most words with the others",
        default="likelihood",
    )
    captions_per_clip: int = flag(
        "Maximum number of captions per clip; of those that say nearly the same, one "
        "is kept",
        default=1,
        at_least=1,
    )
    min_score: float = flag(
        "Minimum likelihood of a caption, per token",
        default=0.0,
        at_least=0,
        at_most=1,
    )


@flags
class CaptionFlags(
    VideoFlags,
    CaptionerFlags,
    OutputFlags,
    FilterFlags,
    CaptionedFrameFlags,
    ChoiceFlags,
    ClipFlags,
    DecodingFlags,
    DownloadFlags,
):
    """All settings of `clipseed caption`."""

    keep_embeddings: ClassVar[bool] = False  # There are none.

    def as_json(self) -> dict[str, object]:
        """Return the settings as `run.json` keeps them."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}

    def hash(self) -> str:
        """Return a name for the settings that decide the result."""
        kept = deciding(self) | {"as_of": self.as_of.isoformat()}
        return content_id(json.dumps(kept, sort_keys=True))


COMMAND_LINE = CommandLine(
    "clipseed caption",
    CaptionFlags,
    "Cut videos into clips, captioned by a captioner of images (pseudolabels).",
    others="Apache Beam",
)


def parse_caption(arguments: Sequence[str]) -> tuple[CaptionFlags, list[str]]:
    """Parse the flags of `clipseed caption`; return them and those for Beam.

    Raises:
        SystemExit: 2, after one line on stderr, if a flag is wrong.
    """
    config, left = COMMAND_LINE.parse_known(arguments)
    return config, check_beam_flags(COMMAND_LINE, left)
