"""`clipseed transcribe`: what is said in videos to clips (HowTo100M; paper, 5.2).

videos ─ filter ─ transcripts or speech recognition ─ cut ─► clips, pairs, run.json
"""

import sys
from collections.abc import Sequence

import apache_beam as beam

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from beam_pipeline.captions.config import COMMAND_LINE, TranscribeFlags
from beam_pipeline.captions.job import cut_and_finish, run_job
from beam_pipeline.mining.plan import fetch_of, filters_of
from beam_pipeline.mining.preflight import ConfigError
from beam_pipeline.mining.settings import parse_job
from beam_pipeline.mining.stages import Ledger
from clipseed.elements import ASR, VideoPart
from clipseed.errors import InputError
from clipseed.run.accounting import (
    UTTERANCES,
    UTTERANCES_USED,
    VIDEOS,
    VIDEOS_TRANSCRIBED,
)
from models.speech.registry import load_recognizer
from transforms.captions.transcribe import Transcribe, TranscribeConfig
from transforms.captions.transcripts import list_transcripts
from transforms.captions.utterances import ClipRule
from transforms.frames.extract import PartReport
from transforms.frames.outcomes import VideoTraces
from transforms.tally import Tally
from transforms.videos.list_videos import ListVideos


def build_pipeline(pipeline: beam.Pipeline, config: TranscribeFlags) -> None:
    """Build the graph of the whole job."""
    videos = (
        pipeline
        | "Videos" >> beam.Create([config.videos])
        | "ListVideos" >> ListVideos(filters_of(config))
    )
    speech = _speech(config)
    said = videos.videos | Transcribe(speech)
    reports = said.reports
    tallies = [
        videos.videos | "VideosIn" >> Tally(VIDEOS),
        reports | "Spoken" >> Tally(VIDEOS_TRANSCRIBED, lambda r: int(r.captions > 0)),
        reports | "Said" >> Tally(UTTERANCES, lambda r: r.utterances),
        reports | "Used" >> Tally(UTTERANCES_USED, lambda r: r.captions),
    ]
    ledger = Ledger([videos.rejected, said.rejected], tallies)
    recognizer = "transcripts"
    if config.recognizer is not None:
        recognizer = load_recognizer(config.recognizer).recognizer_id
    traces = _traces(videos.videos, reports)
    cut_and_finish(
        said.captions, traces, ledger, config, ASR, recognizer, config.min_score
    )


def _traces(videos: beam.PCollection, reports: beam.PCollection) -> VideoTraces:
    """Return what there is of each video: all of it is one part."""
    parts = videos | "Parts" >> beam.Map(lambda video: VideoPart(video, 0, -1))
    read = reports | "Reports" >> beam.Map(
        lambda r: PartReport(r.video_id, r.reference, r.captions, int(not r.captions))
    )
    unsplit = videos.pipeline | "Unsplit" >> beam.Create([], reshuffle=False)
    return VideoTraces(videos, parts, unsplit, read)


def _speech(config: TranscribeFlags) -> TranscribeConfig:
    rule = ClipRule(
        round(config.min_clip_s * 1_000_000),
        round(config.max_clip_s * 1_000_000),
        config.min_score,
    )
    return TranscribeConfig(
        config.transcripts or "",
        config.language,
        config.recognizer or "",
        rule,
        fetch_of(config),
        config.isolate_decoder,
        config.video_timeout_s,
        config.max_duration_s,
        config.max_failed_share,
    )


def check(config: TranscribeFlags) -> None:
    """Refuse sources of speech that are not there.

    Raises:
        ConfigError: no transcript is there, or the recognizer cannot be loaded.
    """
    try:
        if config.transcripts is not None:
            next(list_transcripts(config.transcripts))
        elif config.recognizer is not None:
            load_recognizer(config.recognizer)
    except InputError as error:
        raise ConfigError(f"--transcripts: {error.message}") from error
    except ValueError as error:
        raise ConfigError(f"--recognizer: {error}") from error


def run(argv: Sequence[str] | None = None) -> int:
    """Run `clipseed transcribe`; return the exit status, as `clipseed mine` does."""
    arguments = sys.argv[1:] if argv is None else argv
    config, beam_flags = parse_job(COMMAND_LINE, arguments)
    return run_job("clipseed transcribe", config, beam_flags, check, build_pipeline)


if __name__ == "__main__":
    sys.exit(run())
