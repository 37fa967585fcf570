"""`clipseed mine`: seed images and videos to clip-caption pairs (VideoCC, section 3).

seeds ─ load ─ embed ─► index ─┐
videos ─ split ─ decode ─ embed ─► match ─► top 10 ─► cut ─► clips, pairs, run.json
"""

import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from beam_pipeline.mining import preflight
from beam_pipeline.mining.config import parse_mine
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
from beam_pipeline.report import summary
from beam_pipeline.report.progress import showing_progress
from beam_pipeline.report.terminal import show
from beam_pipeline.runners import dataflow
from beam_pipeline.runners.flink import flink_defaults
from beam_pipeline.runners.local import local_defaults, send_whole_elements_only
from clipseed.errors import InputError
from clipseed.io.download import downloads_deleted
from clipseed.quiet import quiet_libraries
from index_service.client.shard_client import ShardDown
from transforms.media.isolation.containment import fault_in
from transforms.run.manifest import WriteRunManifest
from transforms.run.merge import ReadBaseRun


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


def run(argv: Sequence[str] | None = None) -> int:
    """Run `clipseed mine`; return the exit status.

    0: done; 1: the job failed, or everything in it did; 2: it could not start.
    """
    config, beam_flags = parse_mine(sys.argv[1:] if argv is None else argv)
    quiet_libraries()
    try:
        options = PipelineOptions(flink_defaults(local_defaults(beam_flags)))
        dataflow.check(config, options)
        dry = dataflow.is_dry_run(options)
        if not dry:  # A dry run looks at no bucket.
            config = preflight.same_day(config, sys.argv if argv is None else argv)
        seed_files = preflight.check_seeds(config.seeds)
        preflight.check_videos(config.videos)
        config = preflight.pin_models(config)
        embedder = preflight.check_embedder(config, seed_files)
        index = find_index(config, embedder)
        steps = make_plan(config, seed_files, embedder, index)
        steps = steps.merged_with(find_base_run(config, steps))
        preflight.check_reused_embeddings(config, embedder)
        kept = "" if dry else preflight.prepare_output(config)
    except (preflight.ConfigError, InputError, ShardDown) as error:
        what = error.message if isinstance(error, InputError) else error
        print(f"clipseed mine: {what}", file=sys.stderr)
        return 2
    if index is not None:
        warn_about_recall(index, steps.info.min_similarity)
    if kept:
        print(f"resuming with what was kept: {kept}", file=sys.stderr)
    send_whole_elements_only()
    pipeline = beam.Pipeline(options=options)
    try:
        with (
            showing_progress(),
            downloads_deleted(),
            refusing_other_seeds(steps.base_run),
        ):
            build_pipeline(pipeline, steps)
            result = pipeline.run()
            if not dataflow.runs_later(options):
                result.wait_until_finish()
    except Exception as error:
        fault = fault_in(str(error))
        if not fault:
            raise
        print(f"clipseed mine: {fault}", file=sys.stderr)
        return 1
    if dataflow.runs_later(options):
        show(dataflow.describe(dataflow.built_graph(pipeline), options, config.output))
        return 0
    return summary.report(config.output)


if __name__ == "__main__":
    sys.exit(run())
