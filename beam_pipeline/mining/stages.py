"""The stages of the mining graph: each takes collections and names what comes out."""

from typing import Any, NamedTuple

import apache_beam as beam

from beam_pipeline.mining.plan import Plan
from clipseed.run.accounting import (
    CLIPS,
    CLIPS_US,
    CUTS,
    CUTS_WRITTEN,
    FRAMES,
    FRAMES_EMBEDDED,
    IMAGES,
    IMAGES_EMBEDDED,
    PAIRS,
    PARTS,
    PARTS_REUSED,
    SEED_ROWS,
    SEEDS,
    SEEDS_FINGERPRINT,
    SEEDS_WITHOUT_CAPTION,
    VIDEOS,
    VIDEOS_BROKEN,
    VIDEOS_FAILED,
    VIDEOS_MINED,
    Counter,
    clips_with_sound,
    dead_letters,
)
from clipseed.run.outcomes import VideoOutcome
from transforms.clips.write import ClipsConfig, WriteClips
from transforms.frames.embed import Embed
from transforms.frames.extract import ExtractFrames, SplitVideos
from transforms.frames.outcomes import AccountForVideos, VideoTraces
from transforms.matches.join_captions import JoinCaptions
from transforms.matches.select import SelectMatches
from transforms.run.merge import BaseRun, DropBaseVideos, seeds_fingerprint
from transforms.run.tables import RunTables
from transforms.seeds.load_images import LoadSeeds
from transforms.seeds.outcomes import AccountForSeeds, SeedTraces
from transforms.seeds.read import ReadSeeds
from transforms.tally import Tally
from transforms.videos.list_videos import ListVideos


class Ledger(NamedTuple):
    """What a stage has to account for.

    Attributes:
        rejected: collections of `DeadLetter`s.
        tallies: collections of `(Counter, sum)` pairs.
    """

    rejected: list[beam.PCollection]
    tallies: list[beam.PCollection]


class LoadedSeeds(NamedTuple):
    """Seed images that were loaded.

    Attributes:
        seeds: `Seed`s, one per caption.
        images: `ImageChunk`s to embed.
        embedded: `EmbeddedChunk`s of seeds that brought their embeddings.
        traces: for their outcomes.
        ledger: of the stage.
    """

    seeds: beam.PCollection
    images: beam.PCollection
    embedded: beam.PCollection
    traces: SeedTraces
    ledger: Ledger


class EmbeddedSeeds(NamedTuple):
    """The `EmbeddedChunk`s of all seeds."""

    chunks: beam.PCollection
    ledger: Ledger


class Corpus(NamedTuple):
    """The corpus, split into parts.

    Attributes:
        videos: `Video`s.
        parts: `VideoPart`s.
        reports: a `PartReport` per video that could not be split.
        ledger: of the stage.
    """

    videos: beam.PCollection
    parts: beam.PCollection
    reports: beam.PCollection
    ledger: Ledger


class MinedFrames(NamedTuple):
    """What the frames of the corpus look like.

    Attributes:
        matches: `Match`es.
        audits: `(found, true)` numbers of pairs of audited frames.
        reports: a `PartReport` per part.
        ledger: of the stage.
    """

    matches: beam.PCollection
    audits: beam.PCollection
    reports: beam.PCollection
    ledger: Ledger


class CutClips(NamedTuple):
    """Clips that were written.

    Attributes:
        pairs: `Pair`s.
        files: `RunFile`s of `clips/`.
        ledger: of the stage.
    """

    pairs: beam.PCollection
    files: beam.PCollection
    ledger: Ledger


def load_seeds(pipeline: beam.Pipeline, plan: Plan) -> LoadedSeeds:
    """Read and load the seed images."""
    read = pipeline | beam.Create(plan.seed_files) | ReadSeeds(plan.seeds)
    loaded = read.batches | "SpreadSeeds" >> beam.Reshuffle() | LoadSeeds(plan.load)
    tallies = [
        read.batches | "SeedRows" >> Tally(SEED_ROWS, lambda b: len(b.rows)),
        loaded.seeds | "Seeds" >> Tally(SEEDS),
        loaded.seeds | "Fingerprint" >> Tally(SEEDS_FINGERPRINT, seeds_fingerprint),
    ]
    ledger = Ledger([read.rejected, loaded.rejected], tallies)
    traces = SeedTraces(read.batches, loaded.seeds, loaded.rejected, None)
    return LoadedSeeds(loaded.seeds, loaded.images, loaded.embedded, traces, ledger)


def embed_seeds(loaded: LoadedSeeds, plan: Plan) -> EmbeddedSeeds:
    """Embed the seed images, for the index."""
    embed = Embed(plan.embedder, "embed_seeds", plan.accelerator)
    embedded = loaded.images | "EmbedSeeds" >> embed
    chunks = (embedded.ok, loaded.embedded) | "SeedChunks" >> beam.Flatten()
    tallies = [
        loaded.images | "Images" >> Tally(IMAGES, lambda c: len(c.keys)),
        embedded.ok | "Embedded" >> Tally(IMAGES_EMBEDDED, lambda c: len(c.keys)),
    ]
    return EmbeddedSeeds(chunks, Ledger([embedded.rejected], tallies))


def split_corpus(pipeline: beam.Pipeline, plan: Plan, base: BaseRun | None) -> Corpus:
    """List, filter and probe the videos, but for those of the base run."""
    listed = (
        pipeline
        | "Videos" >> beam.Create([plan.videos])
        | "ListVideos" >> ListVideos(plan.filters)
    )
    videos, rejected = listed.videos, [listed.rejected]
    if base is not None:
        videos, taken = videos | DropBaseVideos(base.matches)
        rejected.append(taken)
    build = plan.build
    split = videos | SplitVideos(plan.sampling, build.fetch, build.isolate, plan.kept)
    ledger = Ledger([*rejected, split.rejected], [videos | "VideosIn" >> Tally(VIDEOS)])
    return Corpus(videos, split.parts, split.reports, ledger)


def match_corpus(
    parts: beam.PCollection, matcher: beam.PTransform, plan: Plan
) -> MinedFrames:
    """Sample, embed and match the frames, which live and die inside this stage."""
    build = plan.build
    frames = parts | ExtractFrames(plan.sampling, build.fetch, build.isolate, plan.kept)
    embed = Embed(plan.embedder, "embed_frames", plan.accelerator)
    embedded = frames.chunks | "EmbedFrames" >> embed
    matched = embedded.ok | "Match" >> matcher
    tallies = [
        frames.chunks | "Frames" >> Tally(FRAMES, lambda c: len(c.keys)),
        embedded.ok | "FramesOk" >> Tally(FRAMES_EMBEDDED, lambda c: len(c.keys)),
        frames.reports | "Parts" >> Tally(PARTS),
        frames.reports | "PartsReused" >> Tally(PARTS_REUSED, lambda r: int(r.kept)),
    ]
    ledger = Ledger([frames.rejected, embedded.rejected], tallies)
    return MinedFrames(matched.matches, matched.audit, frames.reports, ledger)


def select_and_cut(
    matches: beam.PCollection, seeds: beam.PCollection, plan: Plan
) -> CutClips:
    """Select the best matches of each seed, caption them, and cut the clips."""
    selected = matches | SelectMatches(plan.selection, plan.sampling.fps)
    joined = selected.by_seed | JoinCaptions(seeds)
    clips = cut_captioned(joined.matches, plan.clips)
    clips.ledger.tallies.extend(selected.tallies)
    clips.ledger.tallies.append(
        joined.uncaptioned | "Uncaptioned" >> Tally(SEEDS_WITHOUT_CAPTION)
    )
    return clips


def cut_captioned(captions: beam.PCollection, config: ClipsConfig) -> CutClips:
    """Cut the clips of `ClipCaption`s."""
    written = captions | WriteClips(config)
    reports = written.reports
    tallies = [
        written.pairs | "Pairs" >> Tally(PAIRS),
        reports | "Clips" >> Tally(CLIPS),
        reports | "ClipUs" >> Tally(CLIPS_US, lambda r: r.duration_us),
        written.cuts | "Cuts" >> Tally(CUTS, lambda cuts: cuts),
        reports | "CutsWritten" >> Tally(CUTS_WRITTEN, lambda r: r.times),
        reports | "Sound" >> Tally(lambda r: clips_with_sound(r.sound)),
    ]
    ledger = Ledger([written.rejected], tallies)
    return CutClips(written.pairs, written.files, ledger)


def account_for_videos(
    pipeline: beam.Pipeline, corpus: Corpus, mined: MinedFrames
) -> Any:
    """Return the `VideoOutcome`s, and dead letters under `rejected`."""
    traces = VideoTraces(corpus.videos, corpus.parts, corpus.reports, mined.reports)
    return pipeline | AccountForVideos(traces)


def account_for_seeds(
    pipeline: beam.Pipeline, loaded: LoadedSeeds, embedded: EmbeddedSeeds | None
) -> beam.PCollection:
    """Return the `SeedOutcome`s."""
    chunks = None if embedded is None else embedded.chunks
    return pipeline | AccountForSeeds(loaded.traces._replace(embedded=chunks))


def count_videos(outcomes: beam.PCollection) -> beam.PCollection:
    """Count the videos mined, failed, and broken but mined, from `VideoOutcome`s."""

    def count(video: VideoOutcome) -> list[tuple[Counter, int]]:
        mined = [(VIDEOS_MINED, 1), (VIDEOS_BROKEN, int(video.damages > 0))]
        return mined if video.frames else [(VIDEOS_FAILED, 1)]

    return (
        outcomes
        | "Outcome" >> beam.FlatMap(count).with_output_types(tuple[Counter, int])
        | "CountOutcomes" >> beam.CombinePerKey(sum)
    )


def count_dead_letters(rejected: beam.PCollection) -> beam.PCollection:
    """Count dead letters by stage and reason."""
    return rejected | "Letters" >> Tally(lambda r: dead_letters(r.stage, r.reason))


class Tables(NamedTuple):
    """What the tables of a run are made of: each a collection of its rows' elements."""

    matches: beam.PCollection
    pairs: beam.PCollection
    rejected: beam.PCollection
    videos: beam.PCollection
    seeds: beam.PCollection


def write_tables(plan: Plan, rows: Tables) -> list[beam.PCollection]:
    """Write the tables of a run; return collections of the `RunFile`s written."""
    tables = RunTables(plan.info.run_dir, plan.clips.num_shards, plan.info.config_hash)
    write = tables.matches(plan.selection, plan.info.embedder_id)
    return [
        _keyed(rows.matches, "seed_id") | "WriteMatches" >> write,
        _keyed(rows.seeds, "image") | "WriteSeeds" >> tables.seeds(),
        *write_common_tables(tables, rows.pairs, rows.rejected, rows.videos),
    ]


def write_common_tables(
    tables: RunTables,
    pairs: beam.PCollection,
    rejected: beam.PCollection,
    videos: beam.PCollection,
) -> list[beam.PCollection]:
    """Write the tables of every run, whatever its source; return their `RunFile`s."""
    return [
        _keyed(pairs, "video_id", "Pair") | "WritePairs" >> tables.pairs(),
        _keyed(rejected, "key") | "WriteRejected" >> tables.rejected(),
        _keyed(videos, "video_id", "Video") | "WriteVideos" >> tables.videos(),
    ]


def _keyed(rows: beam.PCollection, field: str, of: str = "") -> beam.PCollection:
    return rows | f"Key{of}_{field}" >> beam.Map(
        lambda element: (getattr(element, field), element)
    )
