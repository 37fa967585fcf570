"""Requests that wait are searched together, in bounds, and fairly."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from index_service.search import exact
from index_service.search.exact import Check, Pairs
from index_service.search.matches import Matches
from index_service.serve.batching import Batcher
from index_service.serve.fair_queue import (
    SLICE,
    FairQueue,
    Overloaded,
    Request,
    Waiting,
)
from index_service.serve.limits import Limits

ONE_THREAD = Limits(threads=1, max_batch=8, max_waiting=100)


class Gate:
    """An index whose searches wait until they are let go, and are noted.

    A query's one match is named by the query's first number.
    """

    version = "v7"

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.batches: list[list[float]] = []

    def search(
        self, queries: np.ndarray, k: int, threshold: float | None, check: Check
    ) -> Matches:
        self.entered.set()
        assert self.go.wait(10)
        self.batches.append(queries[:, 0].tolist())
        count = len(queries)
        ones, ids = np.ones(count, np.int64), [f"{q:g}" for q in queries[:, 0]]
        return Matches(ones, ids, queries[:, 0], np.zeros(count, bool))

    def exact_best(self, queries: np.ndarray, k: int, threshold: float) -> Pairs:
        return exact.join([])

    def ask(self, name: int, count: int = 1, k: int = 1, peer: str = "") -> Request:
        return Request(self, np.full((count, 2), name, np.float32), k, None, peer)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def batcher(limits: Limits = ONE_THREAD) -> Batcher:
    return Batcher(limits, lambda request, matches: matches.ids)


def searched(
    gate: Gate, requests: list[Request], limits: Limits = ONE_THREAD
) -> list[Future[list[str]]]:
    """Let one request in, queue the others behind it, open the gate."""
    running = batcher(limits)
    futures = [running.submit(gate.ask(0))]
    assert gate.entered.wait(5)
    futures += [running.submit(request) for request in requests]
    gate.go.set()
    running.close()
    return futures


def test_what_waits_is_searched_together_up_to_the_bound(gate: Gate) -> None:
    sizes = [3, 4, 2, 20, 1]
    futures = searched(gate, [gate.ask(i, size) for i, size in enumerate(sizes, 1)])
    assert [len(batch) for batch in gate.batches] == [1, 8, 2, 20]
    answers = [future.result() for future in futures]
    assert answers == [["0"]] + [[str(i)] * n for i, n in enumerate(sizes, 1)]


def test_what_a_batch_finds_is_bounded(gate: Gate) -> None:
    futures = searched(gate, [gate.ask(1, 5, k=8000), gate.ask(2, 1, k=8000)])
    assert [len(batch) for batch in gate.batches] == [1, 2, 2, 2]
    assert futures[1].result() == ["1"] * 5 and futures[2].result() == ["2"]


def test_only_the_like_share_a_batch(gate: Gate) -> None:
    requests = [gate.ask(1, 1, 2), gate.ask(2, 2, 3), gate.ask(3, 3, 2)]
    requests += [replace(gate.ask(4, 4, 2), threshold=0.5), gate.ask(5, 2, 3)]
    searched(gate, requests)
    assert [sorted(set(batch)) for batch in gate.batches] == [[0], [1, 3], [2, 5], [4]]


def test_a_large_request_delays_others_by_a_slice(gate: Gate) -> None:
    large = gate.ask(1, 3 * SLICE + 5, peer="large")
    small = [gate.ask(2, 1, k=2, peer="small"), gate.ask(3, 1, k=2, peer="late")]
    futures = searched(gate, [large, *small], replace_limits(max_batch=SLICE))
    assert [batch[0] for batch in gate.batches] == [0, 1, 2, 1, 1, 1]
    assert [len(batch) for batch in gate.batches[1:]] == [SLICE, 2, SLICE, SLICE, 5]
    assert futures[1].result() == ["1"] * (3 * SLICE + 5)


class Queue:
    """A queue on a clock of its own, whose searches take 0.1 s a slice."""

    def __init__(self, gate: Gate) -> None:
        self.now_s = 0.0
        self._gate = gate
        self._queue = FairQueue(1000, 100_000, lambda: self.now_s)

    def add(self, peer: str, slices: int = 1) -> None:
        self._queue.add(Waiting(self._gate.ask(1, slices * SLICE, peer=peer)))

    def serve(self, count: int) -> str:
        """Serve slices; return whose."""
        served = ""
        for _ in range(count):
            (waiting,) = self._queue.take(SLICE)
            self.now_s += 0.1
            self._queue.put_back([waiting], 0.1)
            served += waiting.request.peer
        return served


def test_who_wants_more_than_there_is_gets_an_equal_share(gate: Gate) -> None:
    queue = Queue(gate)
    for peer in "abc":
        queue.add(peer, 100)
    queue.add("a", 100)
    assert queue.serve(9) == "abc" * 3


def test_who_wants_little_goes_first(gate: Gate) -> None:
    queue = Queue(gate)
    for peer in "abc":
        queue.add(peer, 100)
    queue.serve(30)
    for _ in range(3):
        queue.add("z")
        assert queue.serve(10).index("z") == 0


def test_nothing_is_gained_by_connecting_again(gate: Gate) -> None:
    queue = Queue(gate)
    queue.add("a")
    queue.serve(1)
    queue.add("b", 5)
    queue.serve(5)
    for number in range(3):
        queue.add(str(number))
        queue.add("a")
        assert queue.serve(2) == f"a{number}"


def replace_limits(**changes: int) -> Limits:
    return replace(ONE_THREAD, **{"max_waiting": 1000, **changes})


def test_a_full_queue_refuses_and_a_large_request_gets_in_alone(gate: Gate) -> None:
    running = batcher(replace_limits(max_waiting=5))
    running.submit(gate.ask(0))
    assert gate.entered.wait(5)
    running.submit(gate.ask(1, 50))
    assert running.waiting == 50
    with pytest.raises(Overloaded):
        running.submit(gate.ask(2))
    gate.go.set()
    running.close()
    assert [len(batch) for batch in gate.batches] == [1, 50] and running.waiting == 0
    with pytest.raises(Overloaded):
        running.submit(gate.ask(3))


@pytest.mark.parametrize("bound", ["max_requests", "max_waiting"])
def test_whoever_fills_the_queue_gives_way(gate: Gate, bound: str) -> None:
    running = batcher(replace_limits(**{bound: 5}))
    running.submit(gate.ask(0))
    assert gate.entered.wait(5)
    greedy = [running.submit(gate.ask(i, peer="greedy")) for i in range(1, 5)]
    if bound == "max_waiting":  # The request that runs does not wait.
        greedy.append(running.submit(gate.ask(5, peer="greedy")))
    with pytest.raises(Overloaded):
        running.submit(gate.ask(6, peer="greedy"))
    modest = running.submit(gate.ask(7, peer="modest"))
    gate.go.set()
    running.close()
    assert modest.result(1) == ["7"]
    with pytest.raises(Overloaded):
        greedy[-1].result(1)
    assert [future.result(1) for future in greedy[:3]] == [["1"], ["2"], ["3"]]


def test_canceled_and_expired_requests_are_not_searched(gate: Gate) -> None:
    running = batcher()
    running.submit(gate.ask(0))
    assert gate.entered.wait(5)
    canceled = running.submit(gate.ask(1, 2))
    late = running.submit(replace(gate.ask(2, 3), expires_s=0.0))
    running.submit(gate.ask(3, 4))
    assert canceled.cancel() and running.waiting == 7  # Its place is free at once.
    gate.go.set()
    running.close()
    assert gate.batches == [[0], [3] * 4]
    with pytest.raises(TimeoutError):
        late.result(1)


@pytest.mark.parametrize("end", ["cancel", "deadline"])
def test_a_running_search_ends_when_nobody_waits(gate: Gate, end: str) -> None:
    ended = threading.Event()

    class Endless(Gate):
        def search(self, *arguments: Callable[[], None]) -> Matches:
            self.entered.set()
            try:
                while True:
                    arguments[-1]()
                    time.sleep(0.001)
            finally:
                ended.set()

    endless = Endless()
    running = batcher()
    expires_s = time.monotonic() + 0.2 if end == "deadline" else float("inf")
    asked = running.submit(replace(endless.ask(1), expires_s=expires_s))
    assert endless.entered.wait(5)
    if end == "cancel":
        assert asked.cancel()
    assert ended.wait(5)
    gate.go.set()
    assert running.submit(gate.ask(2)).result(5) == ["2"]
    running.close()


def test_a_search_that_fails_fails_its_callers_only(gate: Gate) -> None:
    class Broken(Gate):
        def search(self, *_: object) -> Matches:
            raise OSError("disk")

    running = batcher()
    with pytest.raises(OSError, match="disk"):
        running.submit(Broken().ask(1)).result(5)
    gate.go.set()
    assert running.submit(gate.ask(2)).result(5) == ["2"]
    running.close()
