"""The start and the end of every job that captions videos without seeds."""

import time
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.mining import preflight
from beam_pipeline.mining.plan import clips_of
from beam_pipeline.mining.stages import (
    Ledger,
    count_dead_letters,
    count_videos,
    cut_captioned,
    write_common_tables,
)
from beam_pipeline.runners import dataflow
from beam_pipeline.runners.execute import execute, run_alone
from beam_pipeline.runners.flink import flink_defaults
from beam_pipeline.runners.local import local_defaults
from clipseed.elements import PSEUDOLABEL
from clipseed.quiet import quiet_libraries
from transforms.frames.outcomes import AccountForVideos, VideoTraces
from transforms.run.manifest import RunInfo, WriteRunManifest
from transforms.run.tables import RunTables


def cut_and_finish(
    captions: beam.PCollection,
    videos: VideoTraces,
    ledger: Ledger,
    config: Any,
    source: str,
    model: str,
    min_score: float,
) -> None:
    """Cut the clips of captions, and write the run.

    Args:
        captions: `ClipCaption`s.
        videos: that they are of, with a report on each.
        ledger: of the steps that made them.
        config: flags of the job.
        source: of the captions.
        model: id of what made them.
        min_score: that they reach.
    """
    info = RunInfo(
        config.output,
        config.as_json(),
        config.hash(),
        model,
        min_score,
        min_score,
        time.time(),
        source=source,
    )
    # Captions name the boundaries of their clips.
    clips = cut_captioned(captions, clips_of(config, 0, model))
    outcomes = captions.pipeline | AccountForVideos(videos)
    rejected = [*ledger.rejected, *clips.ledger.rejected, outcomes.rejected]
    dead_letters = tuple(rejected) | "DeadLetters" >> beam.Flatten()
    tallies = [*ledger.tallies, *clips.ledger.tallies, count_dead_letters(dead_letters)]
    if source == PSEUDOLABEL:  # The videos of others have no frames to be counted by.
        tallies.append(count_videos(outcomes.outcomes))
    tables = RunTables(config.output, config.num_shards, info.config_hash)
    written = write_common_tables(tables, clips.pairs, dead_letters, outcomes.outcomes)
    files = (*written, clips.files) | "Files" >> beam.Flatten()
    sums = tallies | "Tallies" >> beam.Flatten()
    nothing = captions.pipeline | "NoIndex" >> beam.Create([], reshuffle=False)
    _ = captions.pipeline | WriteRunManifest(info, sums, files, nothing, nothing)


def run_job(
    name: str,
    config: Any,
    beam_flags: list[str],
    check: Callable[[Any], None],
    build: Callable[[beam.Pipeline, Any], None],
) -> int:
    """Run a job; return the exit status.

    0: done; 1: the job failed, or everything in it did; 2: it could not start.

    Args:
        name: of the command.
        config: its flags.
        beam_flags: Beam's own.
        check: raises ConfigError if the job cannot run with these flags.
        build: builds its graph.
    """
    quiet_libraries()
    return run_alone(
        name, config.output, lambda: _run_job(name, config, beam_flags, check, build)
    )


def _run_job(
    name: str,
    config: Any,
    beam_flags: list[str],
    check: Callable[[Any], None],
    build: Callable[[beam.Pipeline, Any], None],
) -> int:
    options = PipelineOptions(flink_defaults(local_defaults(beam_flags)))
    dataflow.check(config, options)
    preflight.check_videos(config.videos)
    check(config)
    if not dataflow.is_dry_run(options):
        preflight.prepare_output(config)
    return execute(
        name, options, lambda pipeline: build(pipeline, config), config.output
    )
