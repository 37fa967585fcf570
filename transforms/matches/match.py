"""Frames against the seed index: every pair above a similarity."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from clipseed.elements import EmbeddedChunk, Match
from index_service.client.index_client import ClientConfig, IndexClient
from index_service.search.open_index import Index, open_index

# One chunk in this many is searched exactly too, to measure the recall of the index.
_AUDIT_ONE_IN = 50


def match_chunk(chunk: EmbeddedChunk, searcher: Index, floor: float) -> Iterator[Match]:
    """Yields a match for each pair of a frame and a seed with similarity > `floor`."""
    pairs = searcher.pairs_above(chunk.embeddings, floor)
    for frame, seed, similarity in zip(*pairs, strict=True):
        yield Match(
            searcher.ids[seed], float(similarity), chunk.source, chunk.keys[frame]
        )


def audit_chunk(chunk: EmbeddedChunk, searcher: Index, floor: float) -> tuple[int, int]:
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
        self._searcher: Index | None = None

    def process(self, chunk: EmbeddedChunk, index_dir: str) -> Iterator[Any]:
        if not index_dir:  # Not one seed could be used.
            return
        if self._searcher is None:
            # One copy a process; the handle on the DoFn keeps it alive.
            self._searcher = self._shared.acquire(lambda: open_index(index_dir))
        yield from match_chunk(chunk, self._searcher, self._floor)
        found, true = audit_chunk(chunk, self._searcher, self._floor)
        if true:
            yield beam.pvalue.TaggedOutput("audit", (found, true))


class _RemoteMatchFn(beam.DoFn):
    """Asks servers; nothing is lost when one of them goes, short of all of a shard."""

    def __init__(self, config: ClientConfig, floor: float) -> None:
        self._config = config
        self._floor = floor

    def setup(self) -> None:
        self._client = IndexClient(self._config)

    def teardown(self) -> None:
        self._client.close()

    def process(self, chunk: EmbeddedChunk) -> Iterator[Match]:
        before = _efforts(self._client)
        hits = self._client.hits_above(chunk.embeddings, self._floor)
        Metrics.counter("index_client", "batches").inc()
        for (name, now), was in zip(
            _efforts(self._client).items(), before.values(), strict=True
        ):
            Metrics.counter("index_client", name).inc(now - was)
        frames = np.repeat(np.arange(len(chunk.keys)), hits.counts)
        found = zip(frames, hits.ids, hits.similarities, strict=True)
        for frame, seed_id, similarity in found:
            yield Match(seed_id, float(similarity), chunk.source, chunk.keys[frame])


def _efforts(client: IndexClient) -> dict[str, int]:
    """What the client went through so far."""
    return {
        "retries": sum(shard.retries for shard in client.shards),
        "failovers": sum(shard.failovers for shard in client.shards),
        "throttled-msec": round(sum(s.pace.slept_s for s in client.shards) * 1000),
    }


@dataclass(eq=False)
class MatchRemotely(beam.PTransform):
    """`EmbeddedChunk` of frames to `Match`, by a served index; none under `audit`.

    Attributes:
        config: where it is served, and how to ask.
        floor: similarities above this are matches.
    """

    config: ClientConfig
    floor: float

    def expand(self, chunks: beam.PCollection) -> Any:
        """Asks for each chunk."""
        ask = beam.ParDo(_RemoteMatchFn(self.config, self.floor))
        return chunks | "Ask" >> ask.with_outputs("audit", main="matches")


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
