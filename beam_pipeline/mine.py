"""`clipseed mine`: seed images and videos to clip-caption pairs (VideoCC, section 3).

seeds ─ load ─ embed ─► index ─┐
videos ─ split ─ decode ─ embed ─► match ─► top 10 ─► cut ─► clips, pairs, run.json
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from beam_pipeline.mining import preflight
from beam_pipeline.mining.config import MineConfig, parse_mine
from beam_pipeline.mining.external_index import find_index, warn_about_recall
from beam_pipeline.mining.index_source import built_index, external_index
from beam_pipeline.mining.merge import find_base_run, refusing_other_seeds
from beam_pipeline.mining.plan import Plan, make_plan
from beam_pipeline.mining.stages import (
    Tables,
    account_for_seeds,
    account_for_videos,
    count_dead_letters,
    count_videos,
    embed_seeds,
    load_seeds,
    match_corpus,
    select_and_cut,
    split_corpus,
    write_tables,
)
from beam_pipeline.runners import dataflow
from beam_pipeline.runners.execute import execute, run_alone
from beam_pipeline.runners.failures import tracebacks_held
from beam_pipeline.runners.flink import flink_defaults
from beam_pipeline.runners.local import local_defaults
from clipseed.quiet import quiet_libraries
from transforms.run.manifest import WriteRunManifest
from transforms.run.merge import SEEDS_DIFFER, ReadBaseRun


def build_pipeline(pipeline: beam.Pipeline, plan: Plan) -> None:
    """Build the graph of the whole job."""
    seeds = load_seeds(pipeline, plan)
    base = None
    if plan.base_run is not None:
        reads = ReadBaseRun(plan.base_run, plan.build.min_similarity)
        base = seeds.seeds | reads
    corpus = split_corpus(pipeline, plan, base)
    ledgers, embedded = [seeds.ledger, corpus.ledger], None
    if plan.index is None:
        embedded = embed_seeds(seeds, plan)
        ledgers.append(embedded.ledger)
        index = built_index(embedded.chunks, corpus.parts, plan)
    else:
        index = external_index(pipeline, plan.index, plan.build.min_similarity)
    mined = match_corpus(corpus.parts, index.matcher, plan)
    matches = mined.matches
    if base is not None:
        matches = (matches, base.matches) | "BaseMatches" >> beam.Flatten()
    clips = select_and_cut(matches, seeds.seeds, plan)
    ledgers += [mined.ledger, clips.ledger]
    videos = account_for_videos(pipeline, corpus, mined)
    seed_outcomes = account_for_seeds(pipeline, seeds, embedded)
    rejected = [each for ledger in ledgers for each in ledger.rejected]
    dead_letters = (*rejected, videos.rejected) | "DeadLetters" >> beam.Flatten()
    tallies = [tally for ledger in ledgers for tally in ledger.tallies]
    tallies += [count_videos(videos.outcomes), count_dead_letters(dead_letters)]
    outcomes = videos.outcomes
    if base is not None:  # Its dead letters and videos are in its tallies already.
        dead_letters = (dead_letters, base.rejected) | "BaseLetters" >> beam.Flatten()
        outcomes = (outcomes, base.videos) | "BaseVideos" >> beam.Flatten()
        tallies.append(base.tallies)
    rows = Tables(matches, clips.pairs, dead_letters, outcomes, seed_outcomes)
    tables = write_tables(plan, rows)
    files = (*tables, clips.files, *index.files) | "Files" >> beam.Flatten()
    sums = tallies | "Tallies" >> beam.Flatten()
    _ = pipeline | WriteRunManifest(
        plan.info, sums, files, index.manifest, mined.audits
    )


class _Job(NamedTuple):
    """A job that is ready to be built.

    Attributes:
        options: Beam's.
        plan: settings of each step.
        kept: what is left of an earlier attempt, in words; "" for nothing.
    """

    options: PipelineOptions
    plan: Plan
    kept: str


def run(argv: Sequence[str] | None = None) -> int:
    """Run `clipseed mine`; return the exit status.

    0: done; 1: the job failed, or everything in it did; 2: it could not start.
    """
    arguments = sys.argv[1:] if argv is None else argv
    config, beam_flags = parse_mine(arguments)
    quiet_libraries()
    return run_alone(
        "clipseed mine", config.output, lambda: _mine(config, beam_flags, arguments)
    )


def _mine(config: MineConfig, beam_flags: list[str], arguments: Sequence[str]) -> int:
    """Mine into an output that is this process's own; raise as `_prepare` does."""
    job = _prepare(config, beam_flags, arguments)
    plan = job.plan
    if plan.index is not None:
        warn_about_recall(plan.index, plan.info.min_similarity)
    if job.kept:
        print(f"resuming with what was kept: {job.kept}", file=sys.stderr)
    with (
        refusing_other_seeds(plan.base_run),
        tracebacks_held(lambda error: SEEDS_DIFFER in str(error)),
    ):
        return execute(
            "clipseed mine",
            job.options,
            lambda pipeline: build_pipeline(pipeline, plan),
            config.output,
        )


def _prepare(config: MineConfig, beam_flags: list[str], argv: Sequence[str]) -> _Job:
    """Check what the flags name, and plan the job.

    Raises:
        ConfigError, InputError, ShardDown: it cannot start.
    """
    options = PipelineOptions(flink_defaults(local_defaults(beam_flags)))
    dataflow.check(config, options)
    dry = dataflow.is_dry_run(options)
    if not dry:  # A dry run looks at no bucket.
        config = preflight.same_day(config, argv)
    seed_files = preflight.check_seeds(config.seeds)
    preflight.check_videos(config.videos)
    config = preflight.pin_models(config)
    embedder = preflight.check_embedder(config, seed_files)
    plan = make_plan(config, seed_files, embedder, find_index(config, embedder))
    plan = plan.merged_with(find_base_run(config, plan))
    preflight.check_reused_embeddings(config, embedder)
    return _Job(options, plan, "" if dry else preflight.prepare_output(config))


if __name__ == "__main__":
    sys.exit(run())
