"""The settings of `clipseed caption`, declared as flags."""

from typing import ClassVar, Literal

from beam_pipeline.mining.flags import (
    AcceleratorFlags,
    ClipFlags,
    DecodingFlags,
    DownloadFlags,
    FilterFlags,
    OutputFlags,
    PartFlags,
    VideoFlags,
)
from beam_pipeline.mining.settings import RunSettings
from clipseed.flags import CommandLine, flag, flags


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
class CaptionedFrameFlags(PartFlags):
    """Captioned frames."""

    sample_fps: float | None = flag(
        "Frames captioned per second",
        default=None,
        default_text="the middle frame of each clip",
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
    RunSettings,
):
    """All settings of `clipseed caption`."""

    keep_embeddings: ClassVar[bool] = False  # There are none.


COMMAND_LINE = CommandLine(
    "clipseed caption",
    CaptionFlags,
    "Cut videos into clips, captioned by a captioner of images (pseudolabels).",
    others="Apache Beam",
)
