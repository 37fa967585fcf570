"""Build the seeds' index once, inside the job."""

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
_SAMPLE_PARTS = 32
_PART_FRAMES = 32


@dataclass(frozen=True)
class BuildConfig:
    """The run that the index is built for.

    Attributes:
        run_dir: the run directory; chunks go to `work/`, the index to `index/`.
        embedder: the value of `--embedder`.
        embedder_id: its id.
        min_similarity: similarity that pairs must exceed.
        sampling: how the corpus is sampled.
        fetch: limits of downloads.
        isolate: whether decoding runs in a child process.
        kept: the frame embedding cache; None for none.
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
    """Turns the `EmbeddedChunk`s of seeds into the index directory, as one element.

    The embeddings go through files: each worker writes its own, and the one worker that
    builds reads them all. The element is "" when there are no seeds.

    Attributes:
        config: the run that the index is built for.
        video_parts: a few of these are sampled to tune the index on real frames.
    """

    config: BuildConfig
    video_parts: beam.PCollection

    def expand(self, chunks: beam.PCollection) -> Any:
        """Write all chunks, then build; tags `manifest` and `files`."""
        files = chunks | "WriteChunks" >> beam.Map(write_seeds, self.config.run_dir)
        sample = self.video_parts | "SampleParts" >> beam.CombineGlobally(
            SamplePartsFn(_SAMPLE_PARTS)
        )
        return (
            chunks.pipeline
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Build"
            >> beam.FlatMap(
                _build,
                self.config,
                beam.pvalue.AsIter(files),
                beam.pvalue.AsSingleton(sample),
            ).with_outputs("manifest", "files", main="directory")
        )


class SamplePartsFn(beam.CombineFn):
    """Samples a fixed number of video parts by hash, so the same in every run."""

    def __init__(self, count: int) -> None:
        self._count = count

    def create_accumulator(self) -> list[VideoPart]:
        """Return an empty sample."""
        return []

    def add_input(self, sample: list[VideoPart], part: VideoPart) -> list[VideoPart]:
        """Add a part, and trim the sample when it is twice too long."""
        sample.append(part)
        return self.compact(sample) if len(sample) >= 2 * self._count else sample

    def merge_accumulators(self, samples: Iterable[list[VideoPart]]) -> list[VideoPart]:
        """Join partial samples."""
        return self.compact([part for sample in samples for part in sample])

    def compact(self, sample: list[VideoPart]) -> list[VideoPart]:
        """Keep the parts with the greatest hashes."""
        return heapq.nlargest(self._count, sample, key=_sampling_order)

    def extract_output(self, sample: list[VideoPart]) -> list[VideoPart]:
        """Return the sample in the order of the hashes."""
        return self.compact(sample)

    def get_accumulator_coder(self) -> coders.Coder:
        """Encode partial samples as rows, because Beam would pickle them."""
        return coders.registry.get_coder(List[VideoPart])


def _sampling_order(part: VideoPart) -> bytes:
    return hashlib.sha256(f"{part.video.video_id}@{part.start_us}".encode()).digest()


def write_seeds(chunk: EmbeddedChunk, run_dir: str) -> str:
    """Write a chunk's ids and embeddings to one file; return its URI."""
    uri = storage.join(run_dir, f"work/seeds/{chunk.source}.npz")
    ids = np.array([seed_id for seed_id, _ in chunk.keys])
    with storage.writing(uri) as path, open(path, "wb") as file:
        np.savez(file, ids=ids, embeddings=chunk.embeddings)
    return uri


def _build(
    _: None, config: BuildConfig, files: Iterable[str], sample: list[VideoPart]
) -> Iterator[Any]:
    ids, embeddings = read_seeds_files(files)
    if not ids:
        yield ""
        return
    directory = storage.join(config.run_dir, "index")
    index_config = IndexConfig()
    queries = None
    if len(ids) >= index_config.exact_below:
        queries = sample_queries(sample, config)
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
    """Yield a folder, and move it to its final name when the block succeeds.

    The remains of an earlier attempt, on an engine that retries, are replaced.
    """
    if storage.is_remote(directory):
        with scratch_folder() as local:
            yield local
            upload_directory(local, directory)
        return
    temporary = storage.join(
        storage.parent(directory), f"work/seeds/index.{uuid.uuid4().hex}"
    )
    yield temporary
    storage.remove_tree(directory)
    os.replace(temporary, directory)


def read_seeds_files(files: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Read the distinct seeds of all files, and their embeddings float32 [n, d].

    An image that is in several batches is taken from the first file by name.
    """
    ids: list[str] = []
    rows: list[np.ndarray] = []
    seen: set[str] = set()
    for uri in sorted(set(files)):
        with storage.localize(uri) as path, np.load(path) as file:
            file_ids, embeddings = file["ids"].tolist(), file["embeddings"]
        fresh = [i for i, seed_id in enumerate(file_ids) if seed_id not in seen]
        seen.update(file_ids)
        ids.extend(file_ids[i] for i in fresh)
        rows.append(embeddings[fresh])
    return ids, np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def sample_queries(
    video_parts: Iterable[VideoPart], config: BuildConfig
) -> np.ndarray | None:
    """Embed a few keyframes of each part: float32 [n, d], or None if there are none.

    Parts that cannot be decoded are skipped here; the decoding step reports them.
    """
    isolation = Isolation(config.isolate, config.sampling.max_failed_share)
    found = [_sample_part(part, config, isolation) for part in video_parts]
    isolation.close()
    parts = [embeddings for embeddings in found if embeddings is not None]
    return np.concatenate(parts) if parts else None


def _sample_part(
    part: VideoPart, config: BuildConfig, isolation: Isolation
) -> np.ndarray | None:
    """Return the cached sample of a part, or else embed its first keyframes."""
    keep_as = ""
    if config.kept is not None and part.keep_as:
        name = f"{part.keep_as}-{_PART_FRAMES}.sample"
        chunk = config.kept.read_chunk(name)
        if chunk is not None:
            return chunk[1]
        keep_as = config.kept.uri(name)
    frames = _keyframes(part, config, isolation)
    if not frames:
        return None
    images = np.stack([frame.image for frame in frames])
    keys = tuple(frame.time_us for frame in frames)
    source = ImageChunk(part.video, keys, images)
    embedded, _ = embed_chunk(source, load_embedder(config.embedder))
    if keep_as:
        write_chunk(keep_as, embedded.keys, embedded.embeddings)
    return embedded.embeddings


def _keyframes(
    part: VideoPart, config: BuildConfig, isolation: Isolation
) -> list[Frame]:
    sampling = config.sampling._replace(mode="keyframe")
    frames: list[Frame] = []
    try:
        with local_copy(part.video.uri, config.fetch) as path:
            for item in isolation.iterate(
                extract_frames,
                part.start_us,
                part.end_us,
                sampling,
                file=path,
                limit_s=sampling.limit_s,
            ):
                if isinstance(item, Frame):
                    frames.append(item)
                if len(frames) == _PART_FRAMES:
                    break
    except InputError as error:
        logging.info("not in the index's sample: %s: %s", part.video, error)
    return frames


def describe_index(directory: Path, count: int) -> Iterator[RunFile]:
    """Yield size and checksum of an index's files, including its manifest."""
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        name = path.relative_to(directory).as_posix()
        records = count if name in (VECTORS, IDS) else 0  # One row per seed.
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
