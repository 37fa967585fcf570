"""Clients that do wrong: each costs itself alone."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.index.raw_call import RawConnection
from clipseed.errors import InputError
from index_service.client.credentials import ServerSecurity
from index_service.search import exact
from index_service.search.searcher import load_index
from index_service.serve.limits import Limits
from index_service.serve.requests import read_request
from index_service.serve.server import IndexServer
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import merge_parts
from index_service.wire.search_pb2_grpc import IndexServiceStub
from tests.support.servers.index_server import (
    DIMENSION,
    connection,
    make_index,
    request,
    serving,
    stub,
    unit_rows,
)

VECTORS = unit_rows(300)
QUERIES = unit_rows(8, seed=1)
SEARCH = "/clipseed.index.v1.IndexService/Search"
LIMITS = Limits(max_body_s=0.3, audit_one_in=0)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_index(tmp_path_factory.mktemp("index") / "one", VECTORS)


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[IndexServer]:
    with serving(index, limits=LIMITS) as running:
        yield running


class Body:
    """A message that is sent when it is told, or never."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.data = b""

    def __iter__(self) -> Iterator[bytes]:
        self.go.wait()
        if self.data:
            yield self.data


@contextmanager
def opened(port: int, count: int = 1, path: str = SEARCH) -> Iterator[list[Any]]:
    """Open calls on one connection and send no message."""
    body = Body()
    with connection(port) as channel:
        call = channel.stream_unary(path)
        try:
            yield [call.future(iter(body), timeout=20) for _ in range(count)]
        finally:
            body.go.set()


def end_of(call: Any) -> tuple[grpc.StatusCode, str]:
    error = call.exception(10)
    assert isinstance(error, grpc.RpcError)
    return error.code(), error.details().partition(":")[0]


def raw(port: int, data: bytes) -> Any:
    with connection(port) as channel:
        return channel.unary_unary(SEARCH)(data, timeout=10)


# --- the cost of a request ------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "reason", "bound"),
    [
        (Limits(max_matches=39), "too_many_matches", "at most 7 queries"),
        (Limits(max_work=7.9 * 300 * DIMENSION / 1e9), "too_much_work", "at most 7 "),
        (Limits(max_queries=7), "too_many_queries", "at most 7"),
    ],
)
def test_what_costs_too_much_is_refused_with_the_bound(
    index: Path, limits: Limits, reason: str, bound: str
) -> None:
    searcher = load_index(index)
    with pytest.raises(InputError) as caught:
        read_request(request(QUERIES, 5), searcher, limits, "peer", 0.0)
    assert caught.value.reason == reason and bound in caught.value.message
    kept = read_request(request(QUERIES[:7], 5), searcher, limits, "peer", 0.0)
    assert len(kept.queries) == 7


def test_the_largest_request_seen_is_refused(server: IndexServer) -> None:
    queries = unit_rows(4096, seed=2)
    with stub(server.port) as client, pytest.raises(grpc.RpcError) as caught:
        client.Search(request(queries, 10_000, threshold=-1.0))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_search_is_ended_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_BLOCK_ELEMENTS", 8 * 100)  # Three blocks.
    calls = iter([None, None, TimeoutError])

    def check() -> None:
        if error := next(calls):
            raise error

    for k in (None, 5):
        calls = iter([None, None, TimeoutError])
        with pytest.raises(TimeoutError):
            exact.find(QUERIES, VECTORS, -1.0, k, check)


def test_a_client_that_leaves_ends_its_search(index: Path) -> None:
    with serving(index, limits=LIMITS) as running, stub(running.port) as client:
        searcher: Any = running.service._versions.current
        entered, ended = threading.Event(), threading.Event()

        def endless(*arguments: Any) -> None:
            entered.set()
            try:
                while True:
                    arguments[-1]()
                    time.sleep(0.001)
            finally:
                ended.set()

        searcher.search = endless
        call = client.Search.future(request(QUERIES))
        assert entered.wait(5)
        call.cancel()
        assert ended.wait(5)
        del searcher.search
        assert len(client.Search(request(QUERIES), timeout=5).counts) == 8


# --- calls without a message ----------------------------------------------------------


def test_a_call_without_a_message_is_ended(server: IndexServer) -> None:
    stats = SEARCH.replace("Search", "Stats")
    for path in (SEARCH, stats, "/grpc.health.v1.Health/Check"):
        with opened(server.port, path=path) as (call,):
            assert end_of(call) == (grpc.StatusCode.DEADLINE_EXCEEDED, "no_message")


def test_they_keep_nobody_waiting(index: Path) -> None:
    limits = replace(LIMITS, max_body_s=30.0, max_requests_per_peer=300)
    with (
        serving(index, limits=limits) as running,
        opened(running.port, 100),
        opened(running.port, 100),
        opened(running.port, 100),
        stub(running.port) as client,
    ):
        assert len(client.Search(request(QUERIES), timeout=5).counts) == 8


def test_a_connection_has_a_bounded_number_of_calls(index: Path) -> None:
    limits = replace(LIMITS, max_body_s=1.0, max_requests_per_peer=3)
    with serving(index, limits=limits) as running, opened(running.port, 4) as calls:
        for call in calls[:3]:
            assert end_of(call)[1] == "no_message"
        assert not calls[3].done()  # It was opened when the others had ended.
        with stub(running.port) as client:  # Another connection.
            assert len(client.Search(request(QUERIES), timeout=5).counts) == 8


def test_a_stranger_is_refused_before_a_message(index: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open-sesame\n")
    security = ServerSecurity(token_file=str(tmp_path / "token"))
    limits = replace(LIMITS, max_body_s=30.0)
    with (
        serving(index, limits=limits, security=security) as running,
        opened(running.port) as (call,),
    ):
        assert end_of(call) == (grpc.StatusCode.UNAUTHENTICATED, "bad_token")


# --- messages -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 100, bytes(1000), request(QUERIES).SerializeToString()[:-9], b"\x0a"],
)
def test_a_message_of_noise_is_refused(server: IndexServer, data: bytes) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        raw(server.port, data)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("bad_message: ")


def test_who_did_wrong_waits_a_moment(server: IndexServer) -> None:
    waits_s = []
    with stub(server.port) as wrong, stub(server.port) as right:
        right.Stats(wire.StatsRequest())
        for client in (wrong, right):
            with pytest.raises(grpc.RpcError):
                wrong.Search(request(QUERIES, 0))
            began_s = time.perf_counter()
            client.Stats(wire.StatsRequest())
            waits_s.append(time.perf_counter() - began_s)
    assert waits_s[0] > 0.04 and waits_s[1] < waits_s[0]


def test_bytes_that_are_not_grpc_close_their_connection(server: IndexServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 5) as strange:
        strange.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        strange.settimeout(10)
        while strange.recv(1 << 16):
            pass
    with stub(server.port) as client:
        assert len(client.Search(request(QUERIES), timeout=5).counts) == 8


def test_connections_are_bounded(index: Path) -> None:
    limits = replace(LIMITS, max_connections=2)
    with (
        serving(index, limits=limits) as running,
        stub(running.port) as first,
        stub(running.port) as second,
    ):
        for client in (first, second):
            client.Stats(wire.StatsRequest(), timeout=5)
        with stub(running.port) as third, pytest.raises(grpc.RpcError):
            third.Stats(wire.StatsRequest(), timeout=1)
        assert len(first.Search(request(QUERIES), timeout=5).counts) == 8


# --- answers --------------------------------------------------------------------------


def test_a_large_answer_comes_in_parts(server: IndexServer, index: Path) -> None:
    queries = unit_rows(200, seed=3)
    with connection(server.port) as channel:
        parts = list(IndexServiceStub(channel).Search(request(queries, 300)))
    assert len(parts) > 10 and max(len(part.ids) for part in parts) <= 2048
    whole, wanted = merge_parts(parts), load_index(index).search(queries, 300, None)
    assert list(whole.ids) == wanted.ids and list(whole.cut) == wanted.cut.tolist()
    assert np.array_equal(np.float32(whole.similarities), wanted.similarities)


def test_answers_that_nobody_receives_are_dropped(index: Path) -> None:
    answer_bytes = 16 * 200 * 300
    limits = replace(LIMITS, max_body_s=20.0, max_unread_bytes=3 * answer_bytes)
    message = request(unit_rows(200), 300).SerializeToString()
    with serving(index, limits=limits, metrics_port=0) as running, ExitStack() as stack:
        for number in range(8):
            address = f"127.0.0.1:{running.port}"
            client = stack.enter_context(RawConnection(address, window=0))
            client.open(SEARCH)
            client.send(message)
            wait_for(lambda n=number: dropped(running) >= n - 2)
        assert dropped(running) == 5
        with stub(running.port) as client:
            assert len(client.Search(request(QUERIES), timeout=5).counts) == 8


def dropped(server: IndexServer) -> float:
    registry = server.service._metrics.registry
    name, labels = "clipseed_index_refused_total", {"reason": "unread_answer"}
    return registry.get_sample_value(name, labels) or 0.0


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_health_can_be_watched(server: IndexServer) -> None:
    with connection(server.port) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=5)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        time.sleep(2 * LIMITS.max_body_s)  # It has sent its message: it is not idle.
        assert watch.is_active()
        watch.cancel()


def test_one_reload_at_a_time(index: Path) -> None:
    with serving(index, limits=LIMITS) as running, stub(running.port) as client:
        versions = running.service._versions
        with versions._loading, pytest.raises(grpc.RpcError) as caught:
            client.Reload(wire.ReloadRequest(), timeout=5)
        assert caught.value.details().startswith("reloading: ")
        client.Reload(wire.ReloadRequest(), timeout=5)
