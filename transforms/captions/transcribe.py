"""The transcribing step: videos to captions of clips, by transcripts or by ear."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from clipseed.elements import ClipCaption, Video
from clipseed.errors import DeadLetter, InputError
from clipseed.io.download import local_copy
from clipseed.io.http import FetchConfig
from models.speech.base import SAMPLE_RATE_HZ
from models.speech.registry import load_recognizer
from transforms import progress
from transforms.captions.transcripts import (
    FindTranscripts,
    Transcript,
    utterances_of,
)
from transforms.captions.utterances import (
    ClipRule,
    Utterance,
    clip_caption,
    without_repeats,
)
from transforms.media.audio import BROKEN, NONE, read_sound
from transforms.media.container import probe
from transforms.media.isolation.containment import MAX_FAILED_SHARE
from transforms.media.isolation.worker_process import Isolation
from transforms.media.media_file import Source
from transforms.media.video_parts import video_parts

STAGE = "transcribe"
_PIECE_S = 60.0


class TranscribeConfig(NamedTuple):
    """How captions are obtained from speech.

    Attributes:
        transcripts: folder, glob or file of transcripts; "" for a recognizer.
        language: preferred, where a video has several transcripts.
        recognizer: see `models.speech.registry`; "" for transcripts.
        rule: which clips utterances give.
        fetch: bounds for videos on the web.
        isolate: whether decoding runs in a child process.
        limit_s: how long decoding a minute of sound may take.
        max_duration_s: a video has to be shorter than this; None for no limit.
        max_failed_share: of the first inputs; see `isolation.containment`.
    """

    transcripts: str
    language: str
    recognizer: str
    rule: ClipRule
    fetch: FetchConfig
    isolate: bool
    limit_s: float
    max_duration_s: float | None
    max_failed_share: float = MAX_FAILED_SHARE


class TranscriptReport(NamedTuple):
    """What came of one video: its utterances, and those that became captions."""

    video_id: str
    reference: str
    utterances: int
    captions: int


class Transcribed(NamedTuple):
    """What comes out of `Transcribe`.

    Attributes:
        captions: `ClipCaption`s.
        reports: a `TranscriptReport` per video.
        rejected: `DeadLetter`s: of stage `transcribe` one per video without a caption,
            of `read_transcripts` one per utterance.
    """

    captions: beam.PCollection
    reports: beam.PCollection
    rejected: beam.PCollection


@dataclass(eq=False)
class Transcribe(beam.PTransform):
    """`Video`s to `Transcribed`.

    Attributes:
        config: where captions come from.
    """

    config: TranscribeConfig

    def expand(self, videos: beam.PCollection) -> Any:
        """Read transcripts, or recognize speech."""
        config, rejected = self.config, []
        if config.transcripts:
            joined = videos | FindTranscripts(config.transcripts, config.language)
            rejected.append(joined.rejected)
            step = joined.found | "Read" >> _tagged(_ReadFn(config))
        else:
            spread = videos | "Spread" >> beam.Reshuffle()
            step = spread | "Recognize" >> _tagged(_RecognizeFn(config))
        rejected.append(step.rejected)
        dead_letters = tuple(rejected) | "DeadLetters" >> beam.Flatten()
        return Transcribed(step.captions, step.reports, dead_letters)


def _tagged(do_fn: beam.DoFn) -> beam.PTransform:
    tags = beam.ParDo(do_fn).with_output_types(ClipCaption)
    return tags.with_outputs("reports", "rejected", main="captions")


class _ReadFn(beam.DoFn):
    def __init__(self, config: TranscribeConfig) -> None:
        self._rule = config.rule

    def process(self, found: tuple[Video, Transcript | None]) -> Iterator[Any]:
        video, transcript = found
        if transcript is None:
            message = "No transcript has its name, as in ID.vtt, ID.srt or ID.json3."
            yield from _nothing(video, "no_transcript", message)
            return
        try:
            said = list(utterances_of(transcript))
        except InputError as error:
            message = f"{transcript.uri}: {error.message}"
            yield from _nothing(video, error.reason, message)
            return
        yield from _narrate(video, said, self._rule)


class _RecognizeFn(beam.DoFn):
    def __init__(self, config: TranscribeConfig) -> None:
        self._config = config

    def setup(self) -> None:
        config = self._config
        self._isolation = Isolation(config.isolate, config.max_failed_share)
        self._recognizer = load_recognizer(config.recognizer)

    def teardown(self) -> None:
        self._isolation.close()

    def process(self, video: Video) -> Iterator[Any]:
        said: list[Utterance | InputError] = []
        try:
            said.extend(self._hear(video))
        except InputError as error:
            if not said:
                yield from _nothing(video, error.reason, error.message)
                return
            said.append(error)  # What was heard before is used.
        yield from _narrate(video, said, self._config.rule)

    def _hear(self, video: Video) -> Iterator[Utterance]:
        config = self._config
        with local_copy(video.uri, config.fetch) as path:
            pieces = self._isolation.iterate(
                sound_pieces, config.max_duration_s, file=path, limit_s=config.limit_s
            )
            for start_us, run in _unbroken(pieces):
                for speech in self._recognizer.recognize(run):
                    times = start_us + speech.start_us, start_us + speech.end_us
                    yield Utterance(*times, (speech.text,), speech.score)


_Piece = tuple[int, int, np.ndarray]


def sound_pieces(source: Source, max_duration_s: float | None) -> Iterator[_Piece]:
    """Yield start and end in µs and the samples (int16, 16 kHz) of minutes of sound.

    Raises:
        InputError: as `video_parts`; `no_sound` or `broken_sound`.
    """
    duration_us = probe(source).duration_us
    for start_us, end_us in video_parts(source, _PIECE_S, max_duration_s):
        # The last part is open-ended, and a header may declare anything.
        longest_us = start_us + 2 * round(_PIECE_S * 1_000_000)
        end_us = min(end_us, longest_us, max(duration_us, start_us + 1))
        sound = read_sound(source, start_us, end_us, SAMPLE_RATE_HZ)
        if sound.verdict == NONE:
            raise InputError("no_sound", sound.message)
        if sound.verdict == BROKEN and not len(sound.samples):
            raise InputError("broken_sound", sound.message)
        yield start_us, end_us, sound.samples


def _unbroken(
    pieces: Iterable[_Piece],
) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Yield runs of pieces that follow each other, with the start of each run."""
    heard_us = 0

    def placed() -> Iterator[tuple[int, np.ndarray]]:
        nonlocal heard_us
        for start_us, end_us, samples in pieces:
            yield start_us - heard_us, samples
            heard_us += end_us - start_us

    for offset_us, run in groupby(placed(), key=lambda piece: piece[0]):
        yield offset_us + heard_us, (samples for _, samples in run)


def _narrate(
    video: Video, said: Iterable[Utterance | InputError], rule: ClipRule
) -> Iterator[Any]:
    """Yield the captions of a video, its report, and its dead rejected."""
    read = list(said)
    broken = [item for item in read if isinstance(item, InputError)]
    spoken = list(without_repeats(u for u in read if isinstance(u, Utterance)))
    captions = 0
    for number, error in enumerate(broken):
        yield _dropped(f"{video.reference}#{number}", error)
    for utterance in spoken:
        try:
            yield clip_caption(video, utterance, rule)
            captions += 1
        except InputError as error:
            yield _dropped(f"{video.reference}@{utterance.start_us / 1e6:.3f}s", error)
    progress.add("videos")
    utterances = len(broken) + len(spoken)
    if captions:
        yield _report(video, utterances, captions)
    else:
        reason = "no_usable_speech" if utterances else "no_speech"
        message = "No clip can be cut for what is said in it."
        yield from _nothing(video, reason, message, utterances)


def _dropped(key: str, error: InputError) -> Any:
    dead_letter = DeadLetter("read_transcripts", key, error.reason, error.message)
    return beam.pvalue.TaggedOutput("rejected", dead_letter)


def _nothing(
    video: Video, reason: str, message: str, utterances: int = 0
) -> Iterator[Any]:
    dead_letter = DeadLetter(STAGE, video.reference, reason, message)
    yield beam.pvalue.TaggedOutput("rejected", dead_letter)
    yield _report(video, utterances, 0)


def _report(video: Video, utterances: int, captions: int) -> Any:
    report = TranscriptReport(video.video_id, video.reference, utterances, captions)
    return beam.pvalue.TaggedOutput("reports", report)
