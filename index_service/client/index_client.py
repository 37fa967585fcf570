"""A client of a served index: it asks all shards at once, any replica of each.

    config = ClientConfig(parse_shards("grpc://a:1|b:1,grpc://c:1"), "made@1", 128)
    with IndexClient(config) as client:
        matches = client.search(queries, k=10, threshold=0.6).matches

Each shard answers from one version, and names it. While shards are reloaded one after
the other, an answer may combine an old version of one with a new version of another.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc
import numpy as np

from clipseed.errors import InputError
from index_service.client.addresses import Shards
from index_service.client.credentials import is_loopback, read, read_token
from index_service.client.shard_client import ShardClient, ShardDown
from index_service.search.matches import Matches, join_matches, merge_matches
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import from_wire

_FIRST_K, _K_GROWTH = 256, 8
# Refusals of a request that its queries pass one by one.
_TOO_LARGE = frozenset({"too_many_matches", "too_much_work", "too_many_queries"})


@dataclass(frozen=True)
class ClientSecurity:
    """Files of a client; "" for none.

    Attributes:
        ca: authority that must have signed servers' certificates, PEM; enables TLS.
        cert: the client's own certificate chain, PEM.
        key: private key of `cert`, PEM.
        token_file: file with the token to send.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    token_file: str = ""


@dataclass(frozen=True)
class ClientConfig:
    """How to query a served index.

    Attributes:
        shards: addresses of the replicas of each shard.
        embedder_id: the embedder of the queries.
        dimension: of the queries.
        deadline_s: limit of one attempt.
        patience_s: limit of one search, attempts and waits together.
        batch: queries per request.
        allow_partial: answer without the shards that are down.
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
    """The result of a search.

    Attributes:
        matches: of all shards that answered.
        versions: version of each shard; "" for one that is down.
        missing: numbers of the shards that are down.
    """

    matches: Matches
    versions: tuple[str, ...]
    missing: tuple[int, ...]


class IndexClient:
    """A client of all shards of an index; not safe for use by several threads.

    Args:
        config: see `ClientConfig`.
        sleep: waits between attempts; tests pass a fake clock.

    Attributes:
        shards: one client per shard.

    Raises:
        InputError: `bad_security`.
    """

    def __init__(
        self, config: ClientConfig, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._config = config
        credentials, metadata = _credentials(config)
        limits = (config.deadline_s, config.patience_s)
        self.shards = [
            ShardClient(number, replicas, credentials, metadata, *limits, sleep)
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

    def check(self) -> list[wire.StatsResponse]:
        """Check that the shards belong together and fit the queries.

        Returns:
            The `StatsResponse` of each shard.

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
                    f"shard {number} was built with {shard.embedder_id!r} "
                    f"({shard.dimension} dimensions), but the queries come from "
                    f"{wanted[0]!r} ({wanted[1]}); use that embedder or another index",
                )
        numbers = [shard.shard for shard in stats]
        whole = sorted(numbers) == list(range(len(stats)))
        if not whole or {shard.shards for shard in stats} != {len(stats)}:
            raise InputError(
                "wrong_shards",
                f"the servers hold the shards {numbers} of {stats[0].shards}; name "
                "each shard once, with commas between them and `|` between replicas",
            )
        if len({shard.build for shard in stats}) > 1:
            raise InputError(
                "wrong_shards",
                "the servers hold shards of different builds; load one build in all",
            )
        return stats

    def search(self, queries: np.ndarray, k: int, threshold: float | None) -> Found:
        """Find the best k matches of all shards.

        Args:
            queries: float32 [m, d], unit norm.
            k: maximum number of matches per query.
            threshold: similarity that a match must exceed; None: the k nearest.

        Raises:
            InputError: a server refuses the request, with its reason.
            ShardDown: a shard is down, and `allow_partial` is not set.
        """
        parts = [
            part
            for i in range(0, len(queries), self._config.batch)
            for part in self._parts(queries[i : i + self._config.batch], k, threshold)
        ]
        missing = sorted({number for part in parts for number in part.missing})
        return Found(
            join_matches([p.matches for p in parts]), parts[-1].versions, tuple(missing)
        )

    def matches_above(self, queries: np.ndarray, threshold: float) -> Matches:
        """Find all matches above a threshold; ask again, with a larger k, where k cut.

        Raises:
            InputError: a query has more matches than the servers return; raise their
                `--max_k`.
            ShardDown: see `search`.
        """
        k = _FIRST_K
        matches = self.search(queries, k, threshold).matches
        while matches.cut.any():
            k *= _K_GROWTH
            rows = np.flatnonzero(matches.cut)
            more = self.search(queries[rows], k, threshold).matches
            matches = _replaced(matches, rows, more)
        return matches

    def _parts(
        self, queries: np.ndarray, k: int, threshold: float | None
    ) -> list[Found]:
        """Search in as many requests as the servers' limits ask for."""
        try:
            return [self._search(queries, k, threshold)]
        except InputError as error:
            if error.reason not in _TOO_LARGE or len(queries) < 2:
                raise
        half = len(queries) // 2
        return [
            part
            for some in (queries[:half], queries[half:])
            for part in self._parts(some, k, threshold)
        ]

    def _search(self, queries: np.ndarray, k: int, threshold: float | None) -> Found:
        request = wire.SearchRequest(
            queries=queries.astype("<f4").tobytes(),
            dimension=queries.shape[1],
            embedder_id=self._config.embedder_id,
            k=k,
            threshold=threshold,
        )
        answers: list[Matches] = []
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
            answers.append(answer.matches)
            versions.append(answer.version)
        if not answers:
            raise ShardDown("no shard of the index answers; start its servers")
        return Found(merge_matches(answers, k), tuple(versions), tuple(missing))


def _replaced(matches: Matches, rows: np.ndarray, more: Matches) -> Matches:
    """Return `matches`, with those of the queries `rows` replaced by `more`."""
    parts = list(_each(matches))
    for row, part in zip(rows.tolist(), _each(more), strict=True):
        parts[row] = part
    return join_matches(parts)


def _each(matches: Matches) -> Iterator[Matches]:
    ends = np.cumsum(matches.counts)
    for row, (end, count) in enumerate(zip(ends, matches.counts, strict=True)):
        part = slice(int(end - count), int(end))
        one = slice(row, row + 1)
        yield Matches(
            matches.counts[one],
            matches.ids[part],
            matches.similarities[part],
            matches.cut[one],
        )


def _credentials(
    config: ClientConfig,
) -> tuple[grpc.ChannelCredentials | None, Sequence[tuple[str, str]]]:
    security = config.security
    hosts = [address.rpartition(":")[0] for shard in config.shards for address in shard]
    if security.token_file and not security.ca and not all(map(is_loopback, hosts)):
        raise InputError(
            "bad_security",
            "without TLS the token would be sent unencrypted; name the authority that "
            "signed the servers' certificates",
        )
    if bool(security.cert) != bool(security.key) or (security.cert and not security.ca):
        raise InputError(
            "bad_security",
            "a client's certificate requires its key and the servers' authority; set "
            "all three",
        )
    metadata: tuple[tuple[str, str], ...] = ()
    if security.token_file:
        metadata = (("authorization", f"Bearer {read_token(security.token_file)}"),)
    if not security.ca:
        return None, metadata
    own = (read(security.key), read(security.cert)) if security.cert else (None, None)
    return grpc.ssl_channel_credentials(read(security.ca), *own), metadata
