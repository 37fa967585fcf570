"""Load seed images: from rows that reference them to pixels for the embedder."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from clipseed.elements import EmbeddedChunk, ImageChunk, Seed, SeedRow
from clipseed.errors import DeadLetter, InputError
from clipseed.hashing import content_id
from clipseed.io import storage
from clipseed.io.http import FetchConfig, fetch
from models.pretrained.resizing import Resizing
from transforms.media.images import ImageLimits
from transforms.media.isolation.containment import MAX_FAILED_SHARE
from transforms.media.isolation.worker_process import Isolation
from transforms.media.resize_picture import load_picture

# Decoding the largest image that is allowed takes some two seconds.
_LIMIT_S = 60.0


class SeedBatch(NamedTuple):
    """Consecutive rows of one seeds file that are loaded and embedded together."""

    name: str
    rows: list[SeedRow]


@dataclass(frozen=True)
class LoadConfig:
    """How seed images are loaded.

    Attributes:
        resizing: how the embedder expects its images.
        fetch: limits of a download.
        limits: limits of an image.
        isolate: whether images are decoded in a child process.
        max_failed_share: of the first inputs; see `isolation.containment`.
    """

    resizing: Resizing
    fetch: FetchConfig = field(default_factory=FetchConfig)
    limits: ImageLimits = field(default_factory=ImageLimits)
    isolate: bool = True
    max_failed_share: float = MAX_FAILED_SHARE


@dataclass
class LoadedBatch:
    """A loaded batch.

    Attributes:
        seeds: one seed per usable row.
        images: the distinct images, to embed; keys are `(seed_id, reference)`.
        embedded: the distinct precomputed embeddings, with the same keys.
        rejected: one dead letter per unusable row.
    """

    seeds: list[Seed]
    images: ImageChunk | None
    embedded: EmbeddedChunk | None
    rejected: list[DeadLetter]


def load_batch(
    batch: SeedBatch, config: LoadConfig, isolation: Isolation
) -> LoadedBatch:
    """Load the images of a batch; one image with several captions is loaded once.

    Each image is decoded in a call of its own, so that one that crashes the decoder is
    one dead letter.

    A seed's id is a hash of its image's bytes (of its reference, where a precomputed
    embedding stands in for the image): copies of an image under several names are one
    seed.
    """
    seeds: list[Seed] = []
    rejected: list[DeadLetter] = []
    ids: dict[tuple[str, int], str | InputError] = {}
    pixels: dict[str, tuple[str, np.ndarray]] = {}
    vectors: dict[str, tuple[str, np.ndarray]] = {}
    for row in batch.rows:
        place = (row.uri or row.reference, row.offset_bytes)
        if place not in ids:
            ids[place] = _load(row, config, isolation, pixels, vectors)
        seed_id = ids[place]
        if isinstance(seed_id, InputError):
            reason, message = seed_id.reason, seed_id.message
            rejected.append(DeadLetter("load_seeds", row.reference, reason, message))
        else:
            seeds.append(Seed(seed_id, row.reference, row.caption))
    return LoadedBatch(
        seeds,
        ImageChunk(batch.name, *_stack(pixels)) if pixels else None,
        EmbeddedChunk(batch.name, *_stack(vectors)) if vectors else None,
        rejected,
    )


def _load(
    row: SeedRow,
    config: LoadConfig,
    isolation: Isolation,
    pixels: dict[str, tuple[str, np.ndarray]],
    vectors: dict[str, tuple[str, np.ndarray]],
) -> str | InputError:
    try:
        if row.embedding:
            seed_id = content_id(row.reference)
            vectors[seed_id] = row.reference, np.frombuffer(row.embedding, np.float32)
            return seed_id
        data = read_image(row, config.fetch)
        seed_id = content_id(data)
        if seed_id not in pixels:
            decode = (load_picture, data, config.limits, config.resizing)
            (picture,) = isolation.iterate(*decode, limit_s=_LIMIT_S)
            pixels[seed_id] = row.reference, picture
        return seed_id
    except InputError as error:
        return error


def read_image(row: SeedRow, config: FetchConfig) -> bytes:
    """Read the bytes of a row's image: a file, a URL, or a range of a tar shard."""
    if row.offset_bytes < 0:
        return fetch(row.uri, config)
    if row.size_bytes > config.max_bytes:
        raise InputError(
            "too_large",
            f"the image has {row.size_bytes} bytes; the limit is {config.max_bytes}",
        )
    return storage.read_range(row.uri, row.offset_bytes, row.size_bytes)


def _stack(arrays: dict[str, tuple[str, np.ndarray]]) -> tuple[tuple, np.ndarray]:
    keys = tuple((seed_id, reference) for seed_id, (reference, _) in arrays.items())
    return keys, np.stack([array for _, array in arrays.values()])


def batches(rows: Iterable[SeedRow], name: str, size: int) -> Iterator[SeedBatch]:
    """Cut a file's rows into batches of `size`, named by file and number."""
    held: list[SeedRow] = []
    number = 0
    for row in rows:
        held.append(row)
        if len(held) == size:
            yield SeedBatch(f"{name}-{number:06d}", held)
            held, number = [], number + 1
    if held:
        yield SeedBatch(f"{name}-{number:06d}", held)


@dataclass(eq=False)
class LoadSeeds(beam.PTransform):
    """Turns `SeedBatch` into `ImageChunk`; tags `seeds`, `embedded`, `rejected`."""

    config: LoadConfig

    def expand(self, batches: beam.PCollection) -> Any:
        """Load each batch on the worker that embeds it."""
        return batches | "LoadImages" >> beam.ParDo(_LoadFn(self.config)).with_outputs(
            "seeds", "embedded", "rejected", main="images"
        )


class _LoadFn(beam.DoFn):
    def __init__(self, config: LoadConfig) -> None:
        self._config = config

    def setup(self) -> None:
        config = self._config
        self._isolation = Isolation(config.isolate, config.max_failed_share)

    def teardown(self) -> None:
        self._isolation.close()

    def process(self, batch: SeedBatch) -> Iterator[Any]:
        loaded = load_batch(batch, self._config, self._isolation)
        if loaded.images is not None:
            yield loaded.images
        if loaded.embedded is not None:
            yield beam.pvalue.TaggedOutput("embedded", loaded.embedded)
        yield from _tagged("seeds", loaded.seeds)
        yield from _tagged("rejected", loaded.rejected)


def _tagged(tag: str, elements: Sequence[Any]) -> Iterator[Any]:
    return (beam.pvalue.TaggedOutput(tag, element) for element in elements)
