"""Frames against the seed index: every pair above a similarity."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared

from index_service.search import Searcher, load_index
from transforms.elements import EmbeddedChunk, Match

# One chunk in this many is searched exactly too, to measure the recall of the index.
_AUDIT_ONE_IN = 50


def match_chunk(
    chunk: EmbeddedChunk, searcher: Searcher, floor: float
) -> Iterator[Match]:
    """Yields a match for each pair of a frame and a seed with similarity > `floor`."""
    pairs = searcher.pairs_above(chunk.embeddings, floor)
    for frame, seed, similarity in zip(*pairs, strict=True):
        yield Match(
            searcher.ids[seed], float(similarity), chunk.source, chunk.keys[frame]
        )


def audit_chunk(
    chunk: EmbeddedChunk, searcher: Searcher, floor: float
) -> tuple[int, int]:
    """How many pairs above `floor` the index finds in a chunk, and how many there are.

    Exact indexes are not audited, nor chunks outside the sample: `(0, 0)`.
    """
    digest = hashlib.sha256(f"{chunk.source.video_id}@{chunk.keys[0]}".encode())
    if searcher.manifest.kind == "exact" or digest.digest()[0] % _AUDIT_ONE_IN:
        return 0, 0
    found = searcher.pairs_above(chunk.embeddings, floor)
    truth = searcher.exact_pairs_above(chunk.embeddings, floor)
    return len(found.similarity), len(truth.similarity)


class _MatchFn(beam.DoFn):
    def __init__(self, floor: float) -> None:
        self._floor = floor
        self._shared = Shared()
        self._searcher: Searcher | None = None

    def process(self, chunk: EmbeddedChunk, index_dir: str) -> Iterator[Any]:
        if not index_dir:  # Not one seed could be used.
            return
        if self._searcher is None:
            # One copy a process; the handle on the DoFn keeps it alive.
            self._searcher = self._shared.acquire(lambda: load_index(Path(index_dir)))
        yield from match_chunk(chunk, self._searcher, self._floor)
        found, true = audit_chunk(chunk, self._searcher, self._floor)
        if true:
            yield beam.pvalue.TaggedOutput("audit", (found, true))


@dataclass(eq=False)
class MatchFrames(beam.PTransform):
    """`EmbeddedChunk` of frames to `Match`; `(found, true)` pairs under `audit`.

    Attributes:
        index_dir: a side input: the directory of the built index ("" for no seeds).
        floor: similarities above this are matches.
    """

    index_dir: Any
    floor: float

    def expand(self, chunks: beam.PCollection) -> Any:
        """Searches each chunk."""
        search = beam.ParDo(_MatchFn(self.floor), self.index_dir)
        return chunks | "Search" >> search.with_outputs("audit", main="matches")
