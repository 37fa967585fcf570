"""`clipseed mine`: seed images and videos to clip-caption pairs (VideoCC, section 3).

seeds ─ load ─ embed ─► index ─┐
videos ─ split ─ decode ─ embed ─► match ─► top 10 ─► cut ─► clips, pairs, run.json
"""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from beam_pipeline.mining import preflight
from beam_pipeline.mining.config import parse_mine
from beam_pipeline.mining.external_index import find_index, warn_about_recall
from beam_pipeline.mining.index_source import built_index, given_index
from beam_pipeline.mining.merge import find_older, refusing_other_seeds
from beam_pipeline.mining.plan import Plan, make_plan
from beam_pipeline.report import summary
from beam_pipeline.runners import dataflow
from beam_pipeline.runners.flink import flink_defaults
from beam_pipeline.runners.local import local_defaults, send_whole_elements_only
from clipseed.errors import InputError
from clipseed.io.download import downloads_deleted
from index_service.client.shard_client import ShardDown
from transforms.clips.write import WriteClips
from transforms.frames.embed import Embed
from transforms.frames.extract import ExtractFrames, SplitVideos
from transforms.matches.join_captions import JoinCaptions
from transforms.matches.select import TopMatches
from transforms.run.manifest import SEEDS_FINGERPRINT, Tally, WriteRunManifest
from transforms.run.merge import (
    BasePart,
    DropBaseVideos,
    ReadBaseRun,
    beside,
    seeds_fingerprint,
)
from transforms.run.tables import RunTables
from transforms.seeds.load_images import LoadSeeds
from transforms.seeds.read import ReadSeeds
from transforms.videos.list_videos import ListVideos


class _Part(NamedTuple):
    """What a part of the graph gives, with its dead letters and sums."""

    output: Any
    rejected: list[beam.PCollection]
    tallies: list[beam.PCollection]


def load_seeds(pipeline: beam.Pipeline, plan: Plan) -> _Part:
    """Seeds files to `(seeds, what LoadSeeds gives)`."""
    read = pipeline | beam.Create(plan.seed_files) | ReadSeeds(plan.seeds)
    loaded = read.batches | "SpreadSeeds" >> beam.Reshuffle() | LoadSeeds(plan.load)
    tallies = [
        read.batches | "SeedRows" >> Tally("seed_rows", lambda b: len(b.rows)),
        loaded.seeds | "Seeds" >> Tally("seeds"),
        loaded.seeds | "Fingerprint" >> Tally(SEEDS_FINGERPRINT, seeds_fingerprint),
    ]
    return _Part((loaded.seeds, loaded), [read.rejected, loaded.rejected], tallies)


def embed_seeds(pipeline: beam.Pipeline, plan: Plan) -> _Part:
    """Seeds files to `(seeds, embedded chunks)`."""
    (seeds, loaded), rejected, tallies = load_seeds(pipeline, plan)
    embed = Embed(plan.embedder, "embed_seeds", plan.accelerator)
    embedded = loaded.images | "EmbedSeeds" >> embed
    chunks = (embedded.ok, loaded.embedded) | "SeedChunks" >> beam.Flatten()
    tallies += [
        loaded.images | "Images" >> Tally("images", lambda c: len(c.keys)),
        embedded.ok | "Embedded" >> Tally("images_embedded", lambda c: len(c.keys)),
    ]
    return _Part((seeds, chunks), [*rejected, embedded.rejected], tallies)


def split_corpus(pipeline: beam.Pipeline, plan: Plan, older: BasePart | None) -> _Part:
    """The corpus to `(spans, reports)`."""
    listed = (
        pipeline
        | "Videos" >> beam.Create([plan.videos])
        | "ListVideos" >> ListVideos(plan.filters)
    )
    videos, rejected = listed.videos, [listed.rejected]
    if older is not None:
        videos, taken = videos | DropBaseVideos(older.matches)
        rejected.append(taken)
    build = plan.build
    split = videos | SplitVideos(plan.sampling, build.fetch, build.isolate, plan.kept)
    tallies = [videos | "VideosIn" >> Tally("videos")]
    rejected.append(split.rejected)
    return _Part((split.spans, split.reports), rejected, tallies)


def match_corpus(
    spans: beam.PCollection, matcher: beam.PTransform, plan: Plan
) -> _Part:
    """Spans to `(matches, audits, reports)`; frames live and die inside."""
    build = plan.build
    frames = spans | ExtractFrames(plan.sampling, build.fetch, build.isolate, plan.kept)
    embed = Embed(plan.embedder, "embed_frames", plan.accelerator)
    embedded = frames.chunks | "EmbedFrames" >> embed
    matched = embedded.ok | "Match" >> matcher
    tallies = [
        frames.chunks | "Frames" >> Tally("frames", lambda c: len(c.keys)),
        embedded.ok | "FramesOk" >> Tally("frames_embedded", lambda c: len(c.keys)),
        matched.matches | "Matches" >> Tally("matches"),
        frames.reports | "Parts" >> Tally("parts"),
        frames.reports | "PartsKept" >> Tally("parts_kept", lambda r: int(r.kept)),
    ]
    rejected = [frames.rejected, embedded.rejected]
    output = (matched.matches, matched.audit, frames.reports)
    return _Part(output, rejected, tallies)


def select_and_cut(
    matches: beam.PCollection, seeds: beam.PCollection, plan: Plan
) -> _Part:
    """Matches and seeds' captions to `(pairs, files)`."""
    chosen = plan.selection
    above = matches | "AboveThreshold" >> beam.Filter(
        lambda match, threshold=chosen.threshold: match.similarity > threshold
    )
    best = above | TopMatches(chosen.top_k, chosen.min_gap_us, plan.sampling.fps)
    joined = best | JoinCaptions(seeds)
    written = joined.selected | WriteClips(plan.clips)
    tallies = [
        above | "Above" >> Tally("matches_above_threshold"),
        best | "SeedsMatched" >> Tally("seeds_matched"),
        joined.uncaptioned | "Uncaptioned" >> Tally("seeds_without_caption"),
        best | "Selected" >> Tally("selected", lambda kv: len(kv[1])),
        written.pairs | "Pairs" >> Tally("pairs"),
        written.reports | "Clips" >> Tally("clips"),
        written.reports | "ClipUs" >> Tally("clips_us", lambda r: r.duration_us),
        written.cuts | "Cuts" >> Tally("cuts", lambda cuts: cuts),
        written.reports | "CutsWritten" >> Tally("cuts_written", lambda r: r.times),
        written.reports | "Sound" >> _CountBy(lambda r: f"sound/{r.sound}"),
    ]
    return _Part((written.pairs, written.files), [written.rejected], tallies)


@dataclass(eq=False)
class _CountBy(beam.PTransform):
    """Counts elements by a name made of each."""

    name: Any

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        name = self.name
        return (
            elements
            | beam.Map(lambda e: (name(e), 1)).with_output_types(tuple[str, int])
            | beam.CombinePerKey(sum)
        )


def video_tallies(reports: beam.PCollection) -> beam.PCollection:
    """`PartReport`s to the numbers of videos mined, failed, and broken but mined."""

    def outcome(_: str, sums: tuple[int, int]) -> list[tuple[str, int]]:
        frames, breaks = sums
        mined = [("videos_mined", 1), ("videos_broken", int(breaks > 0))]
        return mined if frames else [("videos_failed", 1)]

    add = beam.combiners.TupleCombineFn(sum, sum)
    return (
        reports
        | "ByVideo"
        >> beam.Map(lambda r: (r.video_id, (r.frames, r.breaks))).with_output_types(
            tuple[str, tuple[int, int]]
        )
        | "AddParts" >> beam.CombinePerKey(add)
        | "Outcome" >> beam.FlatMapTuple(outcome).with_output_types(tuple[str, int])
        | "CountOutcomes" >> beam.CombinePerKey(sum)
    )


def build_pipeline(pipeline: beam.Pipeline, plan: Plan) -> None:
    """The whole job."""
    seeds = (embed_seeds if plan.index is None else load_seeds)(pipeline, plan)
    older = None
    if plan.older is not None:
        older = seeds.output[0] | ReadBaseRun(plan.older, plan.build.min_similarity)
    corpus = split_corpus(pipeline, plan, older)
    spans = corpus.output[0]
    if plan.index is None:
        index = built_index(seeds.output[1], spans, plan)
    else:
        index = given_index(pipeline, plan.index, plan.build.min_similarity)
    mined = match_corpus(spans, index.matcher, plan)
    matches = beside(mined.output[0], older, "matches")
    clips = select_and_cut(matches, seeds.output[0], plan)
    parts = (seeds, corpus, mined, clips)
    rejected = tuple(r for part in parts for r in part.rejected) | "DeadLetter" >> (
        beam.Flatten()
    )
    letters = beside(rejected, older, "letters")
    tables = write_tables(plan, matches, clips.output[0], letters)
    files = (*tables, clips.output[1], *index.files) | "Files" >> beam.Flatten()
    reports = (corpus.output[1], mined.output[2]) | "AllReports" >> beam.Flatten()
    tallies = (
        *(tally for part in parts for tally in part.tallies),
        video_tallies(reports),
        rejected | "Letters" >> _CountBy(lambda r: f"rejected/{r.stage}/{r.reason}"),
    ) | "Tallies" >> beam.Flatten()
    sums = beside(tallies, older, "tallies")
    _ = pipeline | WriteRunManifest(
        plan.info, sums, files, index.manifest, mined.output[1]
    )


def write_tables(
    plan: Plan,
    matches: beam.PCollection,
    pairs: beam.PCollection,
    letters: beam.PCollection,
) -> list[beam.PCollection]:
    """The tables of a run; gives the files written."""
    tables = RunTables(plan.info.run_dir, plan.clips.num_shards, plan.info.config_hash)
    write = tables.matches(plan.selection, plan.info.embedder_id)
    return [
        _keyed(matches, "seed_id") | "WriteMatches" >> write,
        _keyed(pairs, "video_id") | "WritePairs" >> tables.pairs(),
        _keyed(letters, "key") | "WriteRejected" >> tables.rejected(),
    ]


def _keyed(elements: beam.PCollection, field: str) -> beam.PCollection:
    return elements | f"KeyBy_{field}" >> beam.Map(
        lambda element: (getattr(element, field), element)
    )


def _quiet() -> None:
    """Keeps what libraries log about themselves away from the user."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger().addFilter(
        lambda record: "Resource module is not available" not in record.getMessage()
    )


def run(argv: Sequence[str] | None = None) -> int:
    """Runs `clipseed mine`; gives the exit status.

    0: done; 1: the job failed, or everything in it did; 2: it could not start.
    """
    config, beam_flags = parse_mine(sys.argv[1:] if argv is None else argv)
    _quiet()
    try:
        options = PipelineOptions(flink_defaults(local_defaults(beam_flags)))
        dataflow.check(config, options)
        dry = dataflow.is_dry_run(options)
        if not dry:  # A dry run looks at no bucket.
            config = preflight.same_day(config, sys.argv if argv is None else argv)
        seed_files = preflight.check_seeds(config.seeds)
        preflight.check_videos(config.videos)
        embedder = preflight.check_embedder(config, seed_files)
        index = find_index(config, embedder)
        steps = make_plan(config, seed_files, embedder, index)
        steps = steps.merged_with(find_older(config, steps))
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
    with summary.Progress(), downloads_deleted(), refusing_other_seeds(steps.older):
        pipeline = beam.Pipeline(options=options)
        build_pipeline(pipeline, steps)
        result = pipeline.run()
        if not dataflow.runs_later(options):
            result.wait_until_finish()
    if dataflow.runs_later(options):
        print(dataflow.describe(pipeline.runner.proto_pipeline, options, config.output))
        return 0
    return summary.report(config.output)


if __name__ == "__main__":
    sys.exit(run())
