"""Clients of the index service that do wrong, one kind a function.

Each takes the address and the token, and acts until its process is ended.
"""

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from benchmarks.index.load import vectors
from benchmarks.index.raw_call import RawConnection
from index_service.wire import search_pb2 as wire
from index_service.wire.search_pb2_grpc import IndexServiceStub

EMBEDDER, DIMENSION = "made@1", 128
_SEARCH = "/clipseed.index.v1.IndexService/Search"
_OWN = (
    ("grpc.use_local_subchannel_pool", 1),
)  # Otherwise a process has one connection.
_CALLS = 32

Kind = Callable[[str, str], None]


def message(queries: np.ndarray, k: int, threshold: float | None = None) -> Any:
    """Return a search for float32 [m, 128] queries."""
    return wire.SearchRequest(
        queries=queries.astype("<f4").tobytes(),
        dimension=DIMENSION,
        embedder_id=EMBEDDER,
        k=k,
        threshold=threshold,
    )


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call with the token."""
    return (("authorization", f"Bearer {token}"),)


def connect(address: str) -> grpc.Channel:
    """Return a connection of its own."""
    return grpc.insecure_channel(address, _OWN)


def _ask_forever(address: str, token: str, request: Any) -> None:
    with connect(address) as channel:
        stub = IndexServiceStub(channel)
        while True:
            with contextlib.suppress(grpc.RpcError):
                for _ in stub.Search(request, timeout=20, metadata=bearer(token)):
                    pass


def too_large(address: str, token: str) -> None:
    """Ask for far more than is allowed: 4,096 queries, k = 10,000, threshold -1."""
    _ask_forever(address, token, message(vectors(4096, 1), 10_000, -1.0))


def largest(address: str, token: str) -> None:
    """Ask for as much as is allowed, again and again: 1,024 queries, k = 64."""
    _ask_forever(address, token, message(vectors(1024, 1), 64, -1.0))


def huge_k(address: str, token: str) -> None:
    """Ask for the largest k allowed, again and again."""
    _ask_forever(address, token, message(vectors(6, 1), 10_000))


def no_message(address: str, token: str) -> None:
    """Open as many calls as a connection may have, and send nothing."""

    def nothing() -> Iterator[bytes]:
        time.sleep(3600)
        yield b""

    with connect(address) as channel:
        call: Any = channel.stream_unary(_SEARCH)
        while True:
            futures = [
                call.future(nothing(), metadata=bearer(token)) for _ in range(_CALLS)
            ]
            for future in futures:
                future.exception()


def no_token(address: str, token: str) -> None:
    """Search without the token, several calls at a time."""
    request = message(vectors(64, 1), 10)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(_ask_forever, address, "", request)


def cancel(address: str, token: str) -> None:
    """Ask for as much as is allowed, and leave after some milliseconds."""
    request = message(vectors(1024, 1), 64, -1.0)
    with connect(address) as channel:
        stub = IndexServiceStub(channel)
        while True:
            call = stub.Search(request, timeout=20, metadata=bearer(token))
            time.sleep(random.uniform(0, 0.1))
            call.cancel()


def slow_body(address: str, token: str) -> None:
    """Send messages a few bytes at a time."""
    while True:
        with contextlib.suppress(OSError), RawConnection(address) as connection:
            while True:
                connection.open(_SEARCH, token)
                connection.begin(4_000_000)
                for _ in range(100):
                    connection.send_bytes(bytes(500))
                    connection.drain(0.1)


def garbage(address: str, token: str) -> None:
    """Send noise: as messages, and as a connection."""
    with connect(address) as channel:
        call: Any = channel.unary_unary(_SEARCH)
        while True:
            with contextlib.suppress(grpc.RpcError):
                call(os.urandom(10_000), timeout=20, metadata=bearer(token))
            host, _, port = address.rpartition(":")
            with (
                contextlib.suppress(OSError),
                socket.create_connection((host, int(port)), 5) as strange,
            ):
                strange.sendall(os.urandom(1000))
                strange.recv(100)


def reconnect(address: str, token: str) -> None:
    """Connect, ask once, and leave, again and again."""
    while True:
        with connect(address) as channel, contextlib.suppress(grpc.RpcError):
            stats = IndexServiceStub(channel).Stats
            stats(wire.StatsRequest(), timeout=5, metadata=bearer(token))


def unread(address: str, token: str) -> None:
    """Ask for large answers, and read none of them."""
    request = message(vectors(6, 1), 10_000).SerializeToString()
    while True:
        with (
            contextlib.suppress(OSError),
            RawConnection(address, window=0) as connection,
        ):
            for _ in range(_CALLS):
                connection.open(_SEARCH, token)
                connection.send(request)
                connection.drain(0.2)
            connection.drain(10)


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        too_large,
        largest,
        huge_k,
        no_message,
        no_token,
        cancel,
        slow_body,
        garbage,
        reconnect,
        unread,
    )
}
