"""A client of a served index: all shards at once, any replica of each.

    config = ClientConfig(parse_shards("grpc://a:1|b:1,grpc://c:1"), "made@1", 128)
    with IndexClient(config) as client:
        hits = client.search(queries, k=10, threshold=0.6).hits

Each shard's answer is of one version, which it names; while shards are reloaded one
after the other, an answer may join an old version of one with a new one of another.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
import numpy as np

from clipseed.errors import InputError
from index_service.client.addresses import Shards
from index_service.client.credentials import is_loopback, read, read_token
from index_service.client.retries import Backoff
from index_service.client.shard_client import ShardClient, ShardDown
from index_service.search.hits import Hits, join_hits, merge_hits
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import from_wire

_FIRST_K, _K_GROWTH = 256, 8


@dataclass(frozen=True)
class ClientSecurity:
    """Files of a client; "" where there is none.

    Attributes:
        ca: whom the servers' certificates must be signed by, PEM; turns TLS on.
        cert: the client's own certificate chain, PEM.
        key: the private key of it, PEM.
        token_file: holds the token to send.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    token_file: str = ""


@dataclass(frozen=True)
class ClientConfig:
    """How to ask a served index.

    Attributes:
        shards: addresses of the replicas of each shard.
        embedder_id: what makes the queries.
        dimension: of the queries.
        deadline_s: of one try.
        patience_s: of one search, tries and waits together.
        batch: queries in a request.
        allow_partial: answer without shards that are down.
        security: see `ClientSecurity`.
    """

    shards: Shards
    embedder_id: str
    dimension: int
    deadline_s: float = 10.0
    patience_s: float = 120.0
    batch: int = 256
    allow_partial: bool = False
    security: ClientSecurity = field(default_factory=ClientSecurity)


class Found(NamedTuple):
    """What a search found.

    Attributes:
        hits: of all shards that answered.
        versions: of each shard; "" of one that is down.
        missing: numbers of the shards that are down.
    """

    hits: Hits
    versions: tuple[str, ...]
    missing: tuple[int, ...]


class IndexClient:
    """Asks the shards of an index; one thread at a time.

    Attributes:
        shards: a client of each shard.

    Raises:
        InputError: `bad_security`.
    """

    def __init__(self, config: ClientConfig, backoff: Backoff | None = None) -> None:
        self._config = config
        credentials, metadata = _credentials(config)
        backoff = backoff or Backoff(patience_s=config.patience_s)
        self.shards = [
            ShardClient(
                number, replicas, credentials, metadata, config.deadline_s, backoff
            )
            for number, replicas in enumerate(config.shards)
        ]
        self._pool = ThreadPoolExecutor(len(self.shards))

    def __enter__(self) -> "IndexClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        for shard in self.shards:
            shard.close()

    def check(self) -> list[Any]:
        """Ask every shard what it serves.

        Returns:
            A `StatsResponse` of each shard.

        Raises:
            InputError: `embedder_mismatch`, or `wrong_shards` if they do not belong
                together.
            ShardDown: no replica of a shard answers.
        """
        stats = list(self._pool.map(ShardClient.stats, self.shards))
        wanted = (self._config.embedder_id, self._config.dimension)
        for number, shard in enumerate(stats):
            if (shard.embedder_id, shard.dimension) != wanted:
                raise InputError(
                    "embedder_mismatch",
                    f"shard {number} was made with {shard.embedder_id!r} "
                    f"({shard.dimension} dimensions), the queries come from "
                    f"{wanted[0]!r} ({wanted[1]}); use that embedder or another index",
                )
        numbers = [shard.shard for shard in stats]
        whole = sorted(numbers) == list(range(len(stats)))
        if not whole or {shard.shards for shard in stats} != {len(stats)}:
            raise InputError(
                "wrong_shards",
                f"the servers hold the shards {numbers} of {stats[0].shards}: name "
                "each once, commas between them, and `|` between replicas",
            )
        if len({shard.build for shard in stats}) > 1:
            raise InputError(
                "wrong_shards",
                "the servers hold shards of different builds: load the same one in all",
            )
        return stats

    def search(self, queries: np.ndarray, k: int, threshold: float | None) -> Found:
        """Find the best k of all shards.

        Args:
            queries: float32 [m, d], unit norm.
            k: at most so many hits a query.
            threshold: similarity that a hit must exceed; None: the k nearest.

        Raises:
            InputError: a server refuses the request, with its reason.
            ShardDown: a shard is down and the answer must be whole.
        """
        parts = [
            self._search(queries[i : i + self._config.batch], k, threshold)
            for i in range(0, len(queries), self._config.batch)
        ]
        missing = sorted({number for part in parts for number in part.missing})
        return Found(
            join_hits([p.hits for p in parts]), parts[-1].versions, tuple(missing)
        )

    def hits_above(self, queries: np.ndarray, threshold: float) -> Hits:
        """Find all hits above a threshold: asks again where k cut.

        Raises:
            InputError: a query has more than the servers give; raise their `--max_k`.
            ShardDown: see `search`.
        """
        k = _FIRST_K
        hits = self.search(queries, k, threshold).hits
        while hits.cut.any():
            k *= _K_GROWTH
            rows = np.flatnonzero(hits.cut)
            more = self.search(queries[rows], k, threshold).hits
            hits = _replaced(hits, rows, more)
        return hits

    def _search(self, queries: np.ndarray, k: int, threshold: float | None) -> Found:
        request = wire.SearchRequest(
            queries=queries.astype("<f4").tobytes(),
            dimension=queries.shape[1],
            embedder_id=self._config.embedder_id,
            k=k,
            threshold=threshold,
        )
        answers: list[Hits] = []
        versions = []
        missing = []
        asked = [self._pool.submit(shard.search, request) for shard in self.shards]
        for number, future in enumerate(asked):
            try:
                answer = from_wire(future.result())
            except ShardDown:
                if not self._config.allow_partial:
                    raise
                missing.append(number)
                versions.append("")
                continue
            answers.append(answer.hits)
            versions.append(answer.version)
        if not answers:
            raise ShardDown("no shard of the index answers")
        return Found(merge_hits(answers, k), tuple(versions), tuple(missing))


def _replaced(hits: Hits, rows: np.ndarray, more: Hits) -> Hits:
    """`hits`, with those of some queries taken from another search of these."""
    parts = list(_each(hits))
    for row, part in zip(rows.tolist(), _each(more), strict=True):
        parts[row] = part
    return join_hits(parts)


def _each(hits: Hits) -> Iterator[Hits]:
    ends = np.cumsum(hits.counts)
    for row, (end, count) in enumerate(zip(ends, hits.counts, strict=True)):
        part = slice(int(end - count), int(end))
        one = slice(row, row + 1)
        yield Hits(
            hits.counts[one], hits.ids[part], hits.similarities[part], hits.cut[one]
        )


def _credentials(
    config: ClientConfig,
) -> tuple[grpc.ChannelCredentials | None, Sequence[tuple[str, str]]]:
    security = config.security
    hosts = [address.rpartition(":")[0] for shard in config.shards for address in shard]
    if security.token_file and not security.ca and not all(map(is_loopback, hosts)):
        raise InputError(
            "bad_security",
            "a token without TLS would travel in the clear: name the authority that "
            "signed the servers' certificates",
        )
    if bool(security.cert) != bool(security.key) or (security.cert and not security.ca):
        raise InputError(
            "bad_security", "a client's certificate needs its key and an authority"
        )
    metadata: tuple[tuple[str, str], ...] = ()
    if security.token_file:
        metadata = (("authorization", f"Bearer {read_token(security.token_file)}"),)
    if not security.ca:
        return None, metadata
    own = (read(security.key), read(security.cert)) if security.cert else (None, None)
    return grpc.ssl_channel_credentials(read(security.ca), *own), metadata
