"""One shard of a served index: whichever of its replicas answers."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from clipseed.errors import InputError
from index_service.client.retries import (
    Backoff,
    Pace,
    is_overload,
    is_worth_another_try,
)
from index_service.wire import search_pb2 as wire
from index_service.wire.search_pb2_grpc import IndexServiceStub

_ANSWER_BYTES = 256 << 20


class ShardDown(Exception):
    """No replica of a shard answers; says which, and what they said."""


class ShardClient:
    """Asks the replicas of a shard in turn.

    It stays with a replica that answers; a client starts with one by chance, so that
    many clients spread.

    Attributes:
        number: of the shard.
        pace: how much it was slowed down.
        retries: calls that were tried again.
        failovers: times that it went to another replica.
    """

    def __init__(
        self,
        number: int,
        replicas: Sequence[str],
        credentials: grpc.ChannelCredentials | None,
        metadata: Sequence[tuple[str, str]],
        deadline_s: float,
        backoff: Backoff,
    ) -> None:
        self.number = number
        self.pace = Pace(backoff.sleep)
        self.retries = 0
        self.failovers = 0
        self._replicas = list(replicas)
        self._channels = [_channel(address, credentials) for address in replicas]
        self._stubs = [IndexServiceStub(channel) for channel in self._channels]
        self._metadata = tuple(metadata)
        self._deadline_s = deadline_s
        self._backoff = backoff
        self._current = random.randrange(len(self._stubs))

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()

    def search(self, request: Any) -> Any:
        """A `SearchRequest` to its `SearchResponse`.

        Raises:
            InputError: the server refuses it, with the reason.
            ShardDown: no replica answers while patience lasts.
        """
        return self._call(lambda stub: stub.Search, request)

    def stats(self) -> Any:
        """What the shard serves: a `StatsResponse`.

        Raises:
            InputError: the server refuses to tell.
            ShardDown: no replica answers.
        """
        return self._call(lambda stub: stub.Stats, wire.StatsRequest())

    def _call(self, method: Callable[[Any], Any], request: Any) -> Any:
        waits = self._backoff.waits()
        failed = 0
        while True:
            self.pace.wait()
            try:
                answer = method(self._stubs[self._current])(
                    request, timeout=self._deadline_s, metadata=self._metadata
                )
            except grpc.RpcError as error:
                self._judge(error)
                failed += 1
                # Another replica is asked at once; only a whole round waits.
                whole_round = failed % len(self._stubs) == 0
                if whole_round and not waits.another():
                    raise self._down(error) from error
                continue
            self.pace.answered()
            return answer

    def _judge(self, error: grpc.RpcError) -> None:
        """Goes on to the next replica, or raises what no replica will change."""
        if not is_worth_another_try(error):
            reason, _, message = (error.details() or "").partition(": ")
            where = f"shard {self.number} ({self._replicas[self._current]})"
            raise InputError(
                reason if reason.isidentifier() else "index_refused",
                f"{where} refuses: {message or error.details()}",
            ) from error
        self.retries += 1
        if is_overload(error):
            self.pace.refused()
        if len(self._stubs) > 1:
            self.failovers += 1
            self._current = (self._current + 1) % len(self._stubs)

    def _down(self, error: grpc.RpcError) -> ShardDown:
        return ShardDown(
            f"shard {self.number} does not answer ({', '.join(self._replicas)}; last: "
            f"{error.code().name}: {error.details()}); start a replica, or wait longer"
        )


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    options = [
        ("grpc.max_receive_message_length", _ANSWER_BYTES),
        ("grpc.enable_retries", 0),  # Retries are counted here.
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)
