"""Embedding chunks of images by Beam's RunInference."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, RunInference

from clipseed.elements import EmbeddedChunk, ImageChunk
from clipseed.errors import DeadLetter
from models.embedders.base import Embedder, EmbeddingError, unit_rows
from models.embedders.registry import load_embedder
from transforms.frames.embedding_cache import keep_chunk


class EmbedderHandler(ModelHandler[ImageChunk | EmbeddedChunk, tuple, Embedder]):
    """Runs an embedder on chunks: `ImageChunk` to `(EmbeddedChunk, rejected)`.

    A chunk is a batch already, so Beam need not batch: what an embedder sees together
    depends on the source alone, and its floats are the same in every run. A chunk whose
    embeddings were kept passes through: to flatten the two kinds would store them all.
    """

    def __init__(self, embedder: str, stage: str = "embed") -> None:
        super().__init__()
        self._embedder = embedder
        self._stage = stage

    def load_model(self) -> Embedder:
        """Load the embedder, once per process."""
        return load_embedder(self._embedder)

    def run_inference(
        self,
        batch: Sequence[ImageChunk | EmbeddedChunk],
        model: Embedder,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[tuple[EmbeddedChunk, list[DeadLetter]]]:
        """Embed each chunk by itself."""
        return [
            (chunk, [])
            if isinstance(chunk, EmbeddedChunk)
            else embed_chunk(chunk, model, self._stage)
            for chunk in batch
        ]

    def get_num_bytes(self, batch: Sequence[ImageChunk | EmbeddedChunk]) -> int:
        """Return the arrays' size; Beam would pickle them to find out."""
        arrays = (
            chunk.images if isinstance(chunk, ImageChunk) else chunk.embeddings
            for chunk in batch
        )
        return sum(array.nbytes for array in arrays)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of the metrics that RunInference emits."""
        return "clipseed_embed"

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Return the size of batches: a chunk is one already."""
        return {"min_batch_size": 1, "max_batch_size": 1}


def embed_chunk(
    chunk: ImageChunk, embedder: Embedder, stage: str = "embed"
) -> tuple[EmbeddedChunk, list[DeadLetter]]:
    """Embed a chunk; images that the embedder cannot take are rejected one by one.

    Returns:
        the embeddings, unit norm, and a dead letter for each image without one.
    """
    raw = np.full((len(chunk.keys), embedder.dimension), np.nan, np.float32)
    messages = dict(_embed_rows(chunk.images, embedder, raw, 0, len(raw)))
    embeddings, good = unit_rows(raw)
    rejected = [
        DeadLetter(
            stage,
            _name(chunk.source, chunk.keys[i]),
            "embedding_failed" if i in messages else "no_embedding",
            messages.get(i, "The embedder gave a vector of zeros, NaN or infinity."),
        )
        for i in np.flatnonzero(~good).tolist()
    ]
    keys = tuple(key for key, ok in zip(chunk.keys, good, strict=True) if ok)
    return EmbeddedChunk(chunk.source, keys, embeddings, chunk.keep_as), rejected


def _embed_rows(
    images: np.ndarray, embedder: Embedder, raw: np.ndarray, start: int, end: int
) -> Iterator[tuple[int, str]]:
    """Fill `raw[start:end]`; halve a failing batch until the culprits are alone."""
    if start == end:
        return
    try:
        raw[start:end] = embedder.embed(images[start:end])
    except EmbeddingError as error:
        if end - start == 1:
            yield start, str(error)
            return
        middle = (start + end) // 2
        yield from _embed_rows(images, embedder, raw, start, middle)
        yield from _embed_rows(images, embedder, raw, middle, end)


def _name(source: Any, key: Any) -> str:
    """Return what a dead letter calls an image: a seed's reference, or its place."""
    if isinstance(key, tuple):
        return key[1]
    return f"{getattr(source, 'reference', source)}@{key}"


@dataclass(eq=False)
class Embed(beam.PTransform):
    """`ImageChunk` to `EmbeddedChunk`, with dead letters under the tag `rejected`.

    Embeddings that are to be kept are written to their files.

    Attributes:
        embedder: as `--embedder` names it.
        stage: what dead letters call this step.
        accelerator: a Beam resource hint such as `type:nvidia-l4;count:1`, or empty.
    """

    embedder: str
    stage: str
    accelerator: str = ""

    def expand(self, chunks: beam.PCollection) -> Any:
        """Run the embedder on every chunk."""
        handler = EmbedderHandler(self.embedder, self.stage)
        inference: beam.PTransform = RunInference(handler)
        if self.accelerator:
            inference = inference.with_resource_hints(accelerator=self.accelerator)
        return (
            chunks
            | "RunEmbedder" >> inference
            | "Keep" >> beam.Map(keep_chunk)
            | "Separate" >> beam.FlatMap(_separate).with_outputs("rejected", main="ok")
        )


def _separate(result: tuple[EmbeddedChunk, list[DeadLetter]]) -> Iterator[Any]:
    chunk, rejected = result
    if chunk.keys:
        yield chunk
    for dead_letter in rejected:
        yield beam.pvalue.TaggedOutput("rejected", dead_letter)
