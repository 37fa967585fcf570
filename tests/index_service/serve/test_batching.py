"""Requests that wait are searched together, in bounds."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clipseed.errors import InputError
from index_service.search.matches import Matches
from index_service.serve.batching import (
    Batcher,
    Overloaded,
    Request,
    search_together,
)
from index_service.wire.convert import Answer


def ask(count: int, k: int = 1, threshold: float | None = None) -> Request:
    return Request(np.full((count, 2), k, np.float32), k, threshold, "made@1")


class Gate:
    """A search that waits until it is let go, and notes the batches."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, requests: list[Request]) -> list[Any]:
        self.entered.set()
        assert self.go.wait(10)
        self.batches.append([len(r.queries) for r in requests])
        return [Answer("v", _none(len(r.queries))) for r in requests]


def _none(count: int) -> Matches:
    zeros = np.zeros(count, np.int64)
    return Matches(zeros, [], np.zeros(0, np.float32), zeros.astype(bool))


def filled(gate: Gate, requests: list[Request], **limits: int) -> list[Future[Answer]]:
    """Let one request in, queue the others behind it, open the gate."""
    batcher = Batcher(gate, 1, **{"max_batch": 8, "max_waiting": 100, **limits})
    futures = [batcher.submit(ask(1))]
    assert gate.entered.wait(5)
    futures += [batcher.submit(request) for request in requests]
    gate.go.set()
    batcher.close()
    return futures


def test_what_waits_is_searched_together_up_to_the_bound() -> None:
    gate = Gate()
    futures = filled(gate, [ask(3), ask(4), ask(2), ask(20), ask(1)])
    assert gate.batches == [[1], [3, 4, 1], [2], [20]]
    assert [len(f.result().matches.counts) for f in futures] == [1, 3, 4, 2, 20, 1]


def test_only_the_like_share_a_batch() -> None:
    gate = Gate()
    filled(gate, [ask(1, 2), ask(2, 3), ask(3, 2), ask(4, 2, 0.5), ask(5, 3)])
    assert gate.batches == [[1], [1, 3], [2, 5], [4]]


def test_a_full_queue_refuses_and_a_large_request_gets_in_alone() -> None:
    gate = Gate()
    batcher = Batcher(gate, 1, max_batch=8, max_waiting=5)
    batcher.submit(ask(1))
    assert gate.entered.wait(5)
    batcher.submit(ask(50))
    assert batcher.waiting == 50
    with pytest.raises(Overloaded):
        batcher.submit(ask(1))
    gate.go.set()
    batcher.close()
    assert gate.batches == [[1], [50]] and batcher.waiting == 0
    with pytest.raises(Overloaded):
        batcher.submit(ask(1))


def test_canceled_and_expired_requests_are_not_searched() -> None:
    gate = Gate()
    batcher = Batcher(gate, 1, max_batch=8, max_waiting=100)
    batcher.submit(ask(1))
    assert gate.entered.wait(5)
    canceled = batcher.submit(ask(2))
    late = batcher.submit(replace(ask(3), expires_s=0.0))
    batcher.submit(ask(4))
    assert canceled.cancel()
    gate.go.set()
    batcher.close()
    assert gate.batches == [[1], [4]]
    with pytest.raises(TimeoutError):
        late.result(1)


def test_a_search_that_fails_fails_its_callers_only() -> None:
    calls: list[int] = []

    def search(requests: list[Request]) -> list[Any]:
        calls.append(len(requests))
        if len(calls) == 1:
            raise OSError("disk")
        return [InputError("changed", "meanwhile") for _ in requests]

    batcher = Batcher(search, 1, max_batch=8, max_waiting=100)
    with pytest.raises(OSError, match="disk"):
        batcher.submit(ask(1)).result(5)
    with pytest.raises(InputError, match="changed"):
        batcher.submit(ask(1)).result(5)
    batcher.close()


def test_hits_are_taken_apart_as_the_requests_were() -> None:
    def search(queries: np.ndarray, k: int, threshold: float | None) -> Matches:
        counts = np.array([2, 0, 1], np.int64)
        scores = np.array([0.9, 0.8, 0.7], np.float32)
        return Matches(counts, ["a", "b", "c"], scores, np.array([True, False, False]))

    first, second = search_together(search, "v7", [ask(1), ask(2)])
    assert isinstance(first, Answer) and isinstance(second, Answer)
    assert first.matches.ids == ["a", "b"] and first.matches.cut.tolist() == [True]
    assert second.matches.ids == ["c"] and second.matches.counts.tolist() == [0, 1]
    assert {first.version, second.version} == {"v7"}
