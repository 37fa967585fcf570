"""One shard of a served index: whichever of its replicas answers.

A call goes in rounds. In a round each replica is asked at most once, without a wait in
between, because a failure of one says nothing about the next. Only after a round that
failed everywhere does the client wait, longer each time, until its patience ends
(`ShardDown`). An error that no replica would change (a bad request, a wrong token) ends
the call at once, as an `InputError` with the server's reason.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from clipseed.errors import InputError
from index_service.client.retries import Pace, is_overload, is_transient, retrying
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import merge_parts
from index_service.wire.search_pb2_grpc import IndexServiceStub

_Answer = TypeVar("_Answer", bound=Message)
# A method of a replica's stub.
_Method = Callable[[IndexServiceStub], Callable[..., _Answer]]


class ShardDown(Exception):
    """No replica of a shard answers; the message has the last replica's error."""


class ShardClient:
    """A client of the replicas of one shard.

    It stays with a replica that answers. The first one is chosen at random, so that
    many clients spread over the replicas.

    Attributes:
        number: of the shard.
        pace: how much the client was slowed down.
        retries: calls that were repeated.
        failovers: switches to another replica.
    """

    def __init__(
        self,
        number: int,
        replicas: Sequence[str],
        credentials: grpc.ChannelCredentials | None,
        metadata: Sequence[tuple[str, str]],
        deadline_s: float,
        patience_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.number = number
        self.pace = Pace(sleep)
        self.retries = 0
        self.failovers = 0
        self._replicas = list(replicas)
        self._channels = [_channel(address, credentials) for address in replicas]
        self._stubs = [IndexServiceStub(channel) for channel in self._channels]
        self._metadata = tuple(metadata)
        self._deadline_s = deadline_s
        self._retrying = retrying(patience_s, sleep)
        self._current = random.randrange(len(self._stubs))

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()

    def search(self, request: wire.SearchRequest) -> wire.SearchResponse:
        """Return the `SearchResponse` to a `SearchRequest`.

        Raises:
            InputError: the server refuses the request, with its reason.
            ShardDown: no replica answers before the patience ends.
        """
        return self._call(_searching, request)

    def stats(self) -> wire.StatsResponse:
        """Return the shard's `StatsResponse`.

        Raises:
            InputError: the server refuses the request, with its reason.
            ShardDown: no replica answers before the patience ends.
        """
        return self._call(lambda stub: stub.Stats, wire.StatsRequest())

    def _call(self, method: _Method[_Answer], request: Message) -> _Answer:
        try:
            return self._retrying(self._ask_each, method, request)
        except grpc.RpcError as error:
            raise ShardDown(
                f"shard {self.number} does not answer ({', '.join(self._replicas)}; "
                f"last error: {error.code().name}: {error.details()}); start a "
                "replica, or raise the client's patience"
            ) from error

    def _ask_each(self, method: _Method[_Answer], request: Message) -> _Answer:
        """Ask the replicas, the current one first, until one answers.

        Raises:
            InputError: an error that no replica would change.
            grpc.RpcError: the last replica's transient error.
        """
        for left in reversed(range(len(self._stubs))):
            self.pace.wait()
            try:
                answer = method(self._stubs[self._current])(
                    request, timeout=self._deadline_s, metadata=self._metadata
                )
            except grpc.RpcError as error:
                self._fail_over(error)
                if not left:
                    raise
                continue
            self.pace.speed_up()
            return answer
        raise AssertionError("a shard has at least one replica")

    def _fail_over(self, error: grpc.RpcError) -> None:
        """Switch to the next replica, or raise what no replica would change."""
        if not is_transient(error):
            reason, _, message = (error.details() or "").partition(": ")
            where = f"shard {self.number} ({self._replicas[self._current]})"
            raise InputError(
                reason if reason.isidentifier() else "index_refused",
                f"{where} refuses the request: {message or error.details()}",
            ) from error
        self.retries += 1
        if is_overload(error):
            self.pace.slow_down()
        if len(self._stubs) > 1:
            self.failovers += 1
            self._current = (self._current + 1) % len(self._stubs)


def _searching(stub: IndexServiceStub) -> Callable[..., wire.SearchResponse]:
    def search(request: wire.SearchRequest, **call: Any) -> wire.SearchResponse:
        return merge_parts(stub.Search(request, **call))

    return search


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    options = [
        ("grpc.enable_retries", 0),  # `ShardClient` retries, and counts it.
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)
