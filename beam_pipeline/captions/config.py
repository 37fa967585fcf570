"""The settings of `clipseed transcribe`, declared as flags."""

from typing import ClassVar

from beam_pipeline.mining.flags import (
    DecodingFlags,
    DownloadFlags,
    FilterFlags,
    OutputFlags,
    StoredClipFlags,
    VideoFlags,
)
from beam_pipeline.mining.settings import RunSettings
from clipseed.flags import CommandLine, flag, flags


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
    RunSettings,
):
    """All settings of `clipseed transcribe`."""

    keep_embeddings: ClassVar[bool] = False  # There are none.


COMMAND_LINE = CommandLine(
    "clipseed transcribe",
    TranscribeFlags,
    "Cut the clips of what is said in videos, captioned by it, as HowTo100M's are.",
    others="Apache Beam",
)
