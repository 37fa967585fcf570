"""`clipseed mine` without Beam: one process, one loop, the same functions.

python -m benchmarks.mining.plain_mining SEEDS VIDEOS OUTPUT

Writes the same `pairs.csv` (rows in one order) and the same bytes in `clips/`.
"""

import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from beam_pipeline.mining.config import parse_mine
from beam_pipeline.mining.plan import Plan, make_plan
from clipseed.elements import (
    ClipCaption,
    EmbeddedChunk,
    ImageChunk,
    Match,
    Seed,
    SeedRow,
    Video,
)
from clipseed.errors import DeadLetter
from clipseed.hashing import shard_of
from clipseed.run.clip_record import encode
from clipseed.run.tables import CsvPair
from clipseed.run.writer import RunWriter
from index_service.build.build_index import IndexConfig, build_index
from index_service.search.searcher import Searcher, load_index
from models.embedders.base import Embedder
from models.embedders.registry import load_embedder
from transforms.clips.cut import cut_clips
from transforms.clips.write import make_record
from transforms.frames.embed import embed_chunk
from transforms.matches.match import match_chunk
from transforms.matches.pairs import (
    caption_matches,
    captions_of_clip,
)
from transforms.matches.select import select_matches
from transforms.media.isolation.worker_process import Isolation
from transforms.media.sample_frames import Frame, extract_frames
from transforms.media.video_parts import video_parts
from transforms.seeds.formats import list_seed_files, read_seeds
from transforms.seeds.load_images import batches, load_batch
from transforms.videos.filters import filter_reason
from transforms.videos.manifest import list_videos

_FRAMES_A_CHUNK = 64
_SEEDS_A_BATCH = 256


def mine(seeds: str, videos: str, output: str) -> None:
    """Mine with the default settings."""
    config, _ = parse_mine(["--seeds", seeds, "--videos", videos, "--output", output])
    embedder = load_embedder(config.embedder)
    steps = make_plan(config, list_seed_files(seeds), embedder)
    captions, chunks = embed_seeds(steps, embedder)
    searcher = index_seeds(Path(output) / "index", chunks, steps)
    above: dict[str, list[Match]] = defaultdict(list)
    for chunk in embed_corpus(steps, embedder):
        for match in match_chunk(chunk, searcher, steps.selection.threshold):
            above[match.seed_id].append(match)
    write(choose(above, captions, steps), steps, Path(output))


def embed_seeds(
    steps: Plan, embedder: Embedder
) -> tuple[list[Seed], list[EmbeddedChunk]]:
    """Load and embed the seeds."""
    seeds: list[Seed] = []
    chunks: list[EmbeddedChunk] = []
    isolation = Isolation(isolate=False)
    for uri in steps.seed_files:
        rows = (r for r in read_seeds(uri, steps.seeds) if isinstance(r, SeedRow))
        for batch in batches(rows, "seeds", _SEEDS_A_BATCH):
            loaded = load_batch(batch, steps.load, isolation)
            seeds += loaded.seeds
            if loaded.images is not None:
                chunks.append(embed_chunk(loaded.images, embedder)[0])
    return seeds, chunks


def index_seeds(
    directory: Path, chunks: Sequence[EmbeddedChunk], steps: Plan
) -> Searcher:
    """Build and load the index of the distinct seeds."""
    rows = {
        seed_id: row
        for chunk in chunks
        for (seed_id, _), row in zip(chunk.keys, chunk.embeddings, strict=True)
    }
    build, vectors = steps.build, np.stack(list(rows.values()))
    name, min_similarity = build.embedder_id, build.min_similarity
    build_index(
        directory, list(rows), vectors, name, min_similarity, None, IndexConfig()
    )
    return load_index(directory)


def embed_corpus(steps: Plan, embedder: Embedder) -> Iterator[EmbeddedChunk]:
    """Decode and embed all videos, as much at a time as the job does."""
    sampling = steps.sampling
    for entry in list_videos(steps.videos):
        if isinstance(entry, DeadLetter) or filter_reason(entry, steps.filters):
            continue
        video = entry.video
        for start_us, end_us in video_parts(video.uri, sampling.part_s):
            items = extract_frames(video.uri, start_us, end_us, sampling)
            frames = (item for item in items if isinstance(item, Frame))
            while held := list(itertools.islice(frames, _FRAMES_A_CHUNK)):
                times = tuple(frame.time_us for frame in held)
                images = np.stack([frame.image for frame in held])
                yield embed_chunk(ImageChunk(video, times, images), embedder)[0]


def choose(
    above: dict[str, list[Match]], seeds: Sequence[Seed], steps: Plan
) -> list[ClipCaption]:
    """Return the selected matches of each seed, with its captions."""
    captions: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for seed in seeds:
        captions[seed.seed_id].append((seed.reference, seed.caption))
    return [
        row
        for seed_id, matches in above.items()
        for row in caption_matches(
            seed_id, captions[seed_id], [select_matches(matches, steps.selection)]
        )
    ]


def write(selected: Sequence[ClipCaption], steps: Plan, output: Path) -> None:
    """Cut the clips, and write shards and pairs."""
    config = steps.clips
    pairs: list[CsvPair] = []
    by_shard: dict[int, dict[Video, list[ClipCaption]]] = defaultdict(dict)
    for row in sorted(selected, key=lambda r: (r.video.video_id, r.time_us)):
        shard = shard_of(row.video.video_id, config.num_shards)
        by_shard[shard].setdefault(row.video, []).append(row)

    def records(videos: dict[Video, list[ClipCaption]]) -> Iterator[bytes]:
        for video, rows in videos.items():
            times = sorted({row.time_us for row in rows})
            for clip in cut_clips(video.uri, times, config.cut):
                inside = [row for row in rows if row.time_us in clip.times_us]
                record = make_record(clip, captions_of_clip(inside), config)
                place = (record.video, record.start_us, record.end_us)
                pairs.extend(CsvPair(*place, said.text) for said in record.captions)
                yield encode(record)

    writer = RunWriter(str(output))
    for shard in range(config.num_shards):
        writer.write_clips(shard, config.num_shards, records(by_shard[shard]))
    writer.write_pairs_csv(sorted(pairs))


if __name__ == "__main__":
    mine(*sys.argv[1:])
