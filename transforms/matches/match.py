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


def match_chunk(
    chunk: EmbeddedChunk, searcher: Index, min_similarity: float
) -> Iterator[Match]:
    """Yield a match for each pair of a frame and a seed above `min_similarity`."""
    pairs = searcher.pairs_above(chunk.embeddings, min_similarity)
    for frame, seed, similarity in zip(*pairs, strict=True):
        yield Match(
            searcher.ids[seed], float(similarity), chunk.source, chunk.keys[frame]
        )


def audit_chunk(
    chunk: EmbeddedChunk, searcher: Index, min_similarity: float
) -> tuple[int, int]:
    """Count a chunk's pairs above `min_similarity`: those found, and all.

    Exact indexes are not audited, nor chunks outside the sample: `(0, 0)`.
    """
    digest = hashlib.sha256(f"{chunk.source.video_id}@{chunk.keys[0]}".encode())
    if searcher.manifest.kind == "exact" or digest.digest()[0] % _AUDIT_ONE_IN:
        return 0, 0
    found = searcher.pairs_above(chunk.embeddings, min_similarity)
    truth = searcher.exact_pairs_above(chunk.embeddings, min_similarity)
    return len(found.similarity), len(truth.similarity)


class _MatchFn(beam.DoFn):
    def __init__(self, min_similarity: float) -> None:
        self._min_similarity = min_similarity
        self._shared = Shared()
        self._searcher: Index | None = None

    def process(self, chunk: EmbeddedChunk, index_dir: str) -> Iterator[Any]:
        if not index_dir:  # Not one seed could be used.
            return
        if self._searcher is None:
            # One copy per process; the handle on the DoFn keeps it alive.
            self._searcher = self._shared.acquire(lambda: open_index(index_dir))
        yield from match_chunk(chunk, self._searcher, self._min_similarity)
        found, true = audit_chunk(chunk, self._searcher, self._min_similarity)
        if true:
            yield beam.pvalue.TaggedOutput("audit", (found, true))


class _RemoteMatchFn(beam.DoFn):
    """Asks servers; nothing is lost when one of them goes, short of all of a shard."""

    def __init__(self, config: ClientConfig, min_similarity: float) -> None:
        self._config = config
        self._min_similarity = min_similarity

    def setup(self) -> None:
        self._client = IndexClient(self._config)

    def teardown(self) -> None:
        self._client.close()

    def process(self, chunk: EmbeddedChunk) -> Iterator[Match]:
        before = _efforts(self._client)
        matches = self._client.matches_above(chunk.embeddings, self._min_similarity)
        Metrics.counter("index_client", "batches").inc()
        for (name, now), was in zip(
            _efforts(self._client).items(), before.values(), strict=True
        ):
            Metrics.counter("index_client", name).inc(now - was)
        frames = np.repeat(np.arange(len(chunk.keys)), matches.counts)
        found = zip(frames, matches.ids, matches.similarities, strict=True)
        for frame, seed_id, similarity in found:
            yield Match(seed_id, float(similarity), chunk.source, chunk.keys[frame])


def _efforts(client: IndexClient) -> dict[str, int]:
    """Return what the client went through so far."""
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
        min_similarity: similarities above this are matches.
    """

    config: ClientConfig
    min_similarity: float

    def expand(self, chunks: beam.PCollection) -> Any:
        """Ask for each chunk."""
        ask = beam.ParDo(_RemoteMatchFn(self.config, self.min_similarity))
        return chunks | "Ask" >> ask.with_outputs("audit", main="matches")


@dataclass(eq=False)
class MatchFrames(beam.PTransform):
    """`EmbeddedChunk` of frames to `Match`; `(found, true)` pairs under `audit`.

    Attributes:
        index_dir: a side input: the directory of the built index ("" for no seeds).
        min_similarity: similarities above this are matches.
    """

    index_dir: Any
    min_similarity: float

    def expand(self, chunks: beam.PCollection) -> Any:
        """Search each chunk."""
        search = beam.ParDo(_MatchFn(self.min_similarity), self.index_dir)
        return chunks | "Search" >> search.with_outputs("audit", main="matches")
