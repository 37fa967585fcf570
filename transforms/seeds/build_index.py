"""Building the seeds' index once, inside the job."""

import contextlib
import hashlib
import heapq
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam import coders
from apache_beam.typehints import List

from clipseed.elements import EmbeddedChunk, ImageChunk, VideoPart
from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.io.download import local_copy
from clipseed.io.http import FetchConfig
from clipseed.io.scratch import scratch_folder
from clipseed.run.files import INDEX, RunFile, describe_file
from index_service.build.build_index import IndexConfig, build_index
from index_service.store.index_directory import IDS, VECTORS, IndexManifest
from models.embedders.registry import load_embedder
from transforms.frames.embed import embed_chunk
from transforms.frames.embedding_cache import EmbeddingCache, write_chunk
from transforms.media.isolation.worker_process import Isolation
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames

# Real frames that a ScaNN index is tuned on, besides the seeds.
_SAMPLE_SPANS = 32
_FRAMES_A_SPAN = 32


@dataclass(frozen=True)
class BuildConfig:
    """What the index is built for.

    Attributes:
        run_dir: the run directory; parts go to `work/`, the index to `index/`.
        embedder: as `--embedder` names it.
        embedder_id: the id that it has.
        min_similarity: similarities above this are to be found.
        sampling: how the corpus is sampled.
        fetch: bounds for videos on the web.
        isolate: whether decoding runs in a child process.
        kept: frames' embeddings that are kept; None for none.
    """

    run_dir: str
    embedder: str
    embedder_id: str
    min_similarity: float
    sampling: SamplingConfig
    fetch: FetchConfig
    isolate: bool
    kept: EmbeddingCache | None = None


@dataclass(eq=False)
class BuildIndex(beam.PTransform):
    """`EmbeddedChunk`s of seeds to the index directory, as one element.

    The embeddings go through files: they are written where they are made and read by
    the one worker that builds. The element is "" when there is not one seed.

    Attributes:
        config: what the index is built for.
        spans: parts of videos; a few are sampled to tune the index on real frames.
    """

    config: BuildConfig
    spans: beam.PCollection

    def expand(self, chunks: beam.PCollection) -> Any:
        """Write parts, waits for all of them, builds; tags `manifest` and `files`."""
        parts = chunks | "WriteParts" >> beam.Map(write_part, self.config.run_dir)
        sample = self.spans | "SampleSpans" >> beam.CombineGlobally(
            SamplePartsFn(_SAMPLE_SPANS)
        )
        return (
            chunks.pipeline
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Build"
            >> beam.FlatMap(
                _build,
                self.config,
                beam.pvalue.AsIter(parts),
                beam.pvalue.AsSingleton(sample),
            ).with_outputs("manifest", "files", main="directory")
        )


class SamplePartsFn(beam.CombineFn):
    """A fixed number of spans, by hash: the same in every run."""

    def __init__(self, count: int) -> None:
        self._count = count

    def create_accumulator(self) -> list[VideoPart]:
        """No span yet."""
        return []

    def add_input(self, sample: list[VideoPart], span: VideoPart) -> list[VideoPart]:
        """Add a span, and trims when twice the number is held."""
        sample.append(span)
        return self.compact(sample) if len(sample) >= 2 * self._count else sample

    def merge_accumulators(self, samples: Iterable[list[VideoPart]]) -> list[VideoPart]:
        """Join partial samples."""
        return self.compact([span for sample in samples for span in sample])

    def compact(self, sample: list[VideoPart]) -> list[VideoPart]:
        """Those with the greatest hashes."""
        return heapq.nlargest(self._count, sample, key=_sampling_order)

    def extract_output(self, sample: list[VideoPart]) -> list[VideoPart]:
        """The sample, in the order of the hashes."""
        return self.compact(sample)

    def get_accumulator_coder(self) -> coders.Coder:
        """Partial samples travel as rows; Beam would pickle them."""
        return coders.registry.get_coder(List[VideoPart])


def _sampling_order(span: VideoPart) -> bytes:
    return hashlib.sha256(f"{span.video.video_id}@{span.start_us}".encode()).digest()


def write_part(chunk: EmbeddedChunk, run_dir: str) -> str:
    """Write a chunk's ids and embeddings as one file; gives its URI."""
    uri = storage.join(run_dir, f"work/seeds/{chunk.source}.npz")
    ids = np.array([seed_id for seed_id, _ in chunk.keys])
    with storage.writing(uri) as path, open(path, "wb") as file:
        np.savez(file, ids=ids, embeddings=chunk.embeddings)
    return uri


def _build(
    _: None, config: BuildConfig, parts: Iterable[str], spans: list[VideoPart]
) -> Iterator[Any]:
    ids, embeddings = read_parts(parts)
    if not ids:
        yield ""
        return
    directory = storage.join(config.run_dir, "index")
    index_config = IndexConfig()
    queries = None
    if len(ids) >= index_config.exact_below:
        queries = sample_queries(spans, config)
    with _published(directory) as local:
        manifest = build_index(
            Path(local),
            ids,
            embeddings,
            config.embedder_id,
            config.min_similarity,
            queries,
            index_config,
        )
        _log(manifest)
        for file in describe_index(Path(local), manifest.count):
            yield beam.pvalue.TaggedOutput("files", file)
    yield directory
    yield beam.pvalue.TaggedOutput("manifest", manifest)


@contextlib.contextmanager
def _published(directory: str) -> Iterator[str]:
    """Give a folder, and puts what is in it to its place when the block succeeds.

    What an attempt before this one left there, on an engine that tries again, goes.
    """
    if storage.is_remote(directory):
        with scratch_folder() as local:
            yield local
            upload_directory(local, directory)
        return
    beside = storage.join(
        storage.parent(directory), f"work/seeds/index.{uuid.uuid4().hex}"
    )
    yield beside
    storage.remove_tree(directory)
    os.replace(beside, directory)


def read_parts(parts: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """The distinct seeds of all parts, and their embeddings float32 [n, d].

    An image that stands in several batches counts once, from the first by name.
    """
    ids: list[str] = []
    rows: list[np.ndarray] = []
    seen: set[str] = set()
    for uri in sorted(set(parts)):
        with storage.localize(uri) as path, np.load(path) as part:
            part_ids, embeddings = part["ids"].tolist(), part["embeddings"]
        fresh = [i for i, seed_id in enumerate(part_ids) if seed_id not in seen]
        seen.update(part_ids)
        ids.extend(part_ids[i] for i in fresh)
        rows.append(embeddings[fresh])
    return ids, np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def sample_queries(
    spans: Iterable[VideoPart], config: BuildConfig
) -> np.ndarray | None:
    """Embed a few keyframes of each span: float32 [n, d], or None if there are none.

    Spans that cannot be decoded are passed over here; the decoding step reports them.
    """
    isolation = Isolation(config.isolate, config.sampling.max_failed_share)
    found = [_sample_span(span, config, isolation) for span in spans]
    isolation.close()
    parts = [embeddings for embeddings in found if embeddings is not None]
    return np.concatenate(parts) if parts else None


def _sample_span(
    span: VideoPart, config: BuildConfig, isolation: Isolation
) -> np.ndarray | None:
    """What was kept of a span's sample, or else its first keyframes."""
    keep_as = ""
    if config.kept is not None and span.keep_as:
        name = f"{span.keep_as}-{_FRAMES_A_SPAN}.sample"
        chunk = config.kept.read_chunk(name)
        if chunk is not None:
            return chunk[1]
        keep_as = config.kept.uri(name)
    frames = _keyframes(span, config, isolation)
    if not frames:
        return None
    images = np.stack([frame.image for frame in frames])
    keys = tuple(frame.time_us for frame in frames)
    source = ImageChunk(span.video, keys, images)
    embedded, _ = embed_chunk(source, load_embedder(config.embedder))
    if keep_as:
        write_chunk(keep_as, embedded.keys, embedded.embeddings)
    return embedded.embeddings


def _keyframes(
    span: VideoPart, config: BuildConfig, isolation: Isolation
) -> list[Frame]:
    sampling = config.sampling._replace(mode="keyframe")
    frames: list[Frame] = []
    try:
        with local_copy(span.video.uri, config.fetch) as path:
            for item in isolation.iterate(
                extract_frames,
                span.start_us,
                span.end_us,
                sampling,
                file=path,
                limit_s=sampling.limit_s,
            ):
                if isinstance(item, Frame):
                    frames.append(item)
                if len(frames) == _FRAMES_A_SPAN:
                    break
    except InputError as reject:
        logging.info("not in the index's sample: %s: %s", span.video, reject)
    return frames


def describe_index(directory: Path, count: int) -> Iterator[RunFile]:
    """Sizes and checksums an index's files, its manifest among them."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        name = path.relative_to(directory).as_posix()
        records = count if name in (VECTORS, IDS) else 0  # A row a seed.
        yield describe_file(str(path), f"{INDEX}/{name}", records)


def upload_directory(local: str, uri: str) -> None:
    """Move the files of a local directory to a bucket, `manifest.json` last."""
    paths = sorted(path for path in Path(local).rglob("*") if path.is_file())
    for path in sorted(paths, key=lambda path: path.name == "manifest.json"):
        name = path.relative_to(local).as_posix()
        storage.publish(str(path), storage.join(uri, name))


def _log(manifest: IndexManifest) -> None:
    logging.info(
        "seed index: %s, %d seeds, recall %.4f (%s)",
        manifest.kind,
        manifest.count,
        manifest.audit.recall,
        manifest.audit.recall_basis,
    )
