"""The settings of `clipseed transcribe`, declared as flags."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import ClassVar

from beam_pipeline.mining.config import check_beam_flags
from beam_pipeline.mining.flags import (
    DecodingFlags,
    DownloadFlags,
    FilterFlags,
    OutputFlags,
    StoredClipFlags,
    VideoFlags,
)
from clipseed.flags import CommandLine, flag, flags
from clipseed.flags.declaration import deciding
from clipseed.hashing import content_id


@flags
class SpeechFlags:
    """Speech."""

    transcripts: str | None = flag(
        "Transcripts of the videos: a folder or glob of files named ID.vtt, ID.srt or "
        "ID.json3 (ID.en.vtt), or HowTo100M's caption file",
        default=None,
        remote=("gs",),
    )
    language: str = flag(
        "Language code of the transcript to take where a video has several",
        default="en",
        pattern="[a-z]{2,3}",
        expected="a code such as en",
    )
    recognizer: str | None = flag(
        "Speech recognizer where there are no transcripts: pocketsphinx, or "
        "faster-whisper:DIRECTORY of its weights",
        default=None,
        pattern="pocketsphinx|faster-whisper:.+",
        expected="pocketsphinx or faster-whisper:DIRECTORY",
    )
    min_clip_s: float = flag(
        "Shorter utterances are widened to this about their middle (HowTo100M's "
        "readers: 4)",
        unit="seconds",
        default=4.0,
        above=0,
    )
    max_clip_s: float = flag(
        "Longer utterances give no clip", unit="seconds", default=60.0, above=0
    )
    min_score: float = flag(
        "Utterances that a recognizer is less sure of give no clip",
        default=0.0,
        at_least=0,
        at_most=1,
    )

    def __post_init__(self) -> None:
        """Raise ValueError unless one source of speech is given."""
        if (self.transcripts is None) == (self.recognizer is None):
            raise ValueError("give either --transcripts or --recognizer")
        if self.min_clip_s > self.max_clip_s:
            raise ValueError(
                f"--min_clip_s {self.min_clip_s:g}: must not be above --max_clip_s "
                f"{self.max_clip_s:g}"
            )


@flags
class TranscribeFlags(
    VideoFlags,
    SpeechFlags,
    OutputFlags,
    FilterFlags,
    StoredClipFlags,
    DecodingFlags,
    DownloadFlags,
):
    """All settings of `clipseed transcribe`."""

    keep_embeddings: ClassVar[bool] = False  # There are none.

    def as_json(self) -> dict[str, object]:
        """Return the settings as `run.json` keeps them."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}

    def hash(self) -> str:
        """Return a name for the settings that decide the result."""
        kept = deciding(self) | {"as_of": self.as_of.isoformat()}
        return content_id(json.dumps(kept, sort_keys=True))


COMMAND_LINE = CommandLine(
    "clipseed transcribe",
    TranscribeFlags,
    "Cut the clips of what is said in videos, captioned by it, as HowTo100M's are.",
    others="Apache Beam",
)


def parse_transcribe(arguments: Sequence[str]) -> tuple[TranscribeFlags, list[str]]:
    """Parse the flags of `clipseed transcribe`; return them and those for Beam.

    Raises:
        SystemExit: 2, after one line on stderr, if a flag is wrong.
    """
    config, left = COMMAND_LINE.parse_known(arguments)
    return config, check_beam_flags(COMMAND_LINE, left)
