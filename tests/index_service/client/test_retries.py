"""Waiting between tries, and slowing down, by a clock of our own."""

import grpc
import pytest

from clipseed.errors import InputError
from index_service.client.addresses import is_served, parse_shards
from index_service.client.retries import (
    Backoff,
    Pace,
    is_overload,
    is_worth_another_try,
)


class Error(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def test_waits_double_up_to_the_most_and_end_with_patience() -> None:
    clock = Clock()
    backoff = Backoff(10.0, 0.5, 3.0, clock, clock.sleep, lambda: 1.0)
    waits = backoff.waits()
    while waits.another():
        pass
    assert clock.slept == [0.5, 1.0, 2.0, 3.0, 3.0]  # The next would pass 10 s.


def test_chance_makes_waits_shorter() -> None:
    clock = Clock()
    chances = iter([0.0, 0.5, 0.25])
    waits = Backoff(10.0, 1.0, 8.0, clock, clock.sleep, lambda: next(chances)).waits()
    assert all(waits.another() for _ in range(3))
    assert clock.slept == [0.0, 1.0, 1.0]


def test_time_that_tries_take_counts_as_patience() -> None:
    clock = Clock()
    waits = Backoff(10.0, 1.0, 1.0, clock, clock.sleep, lambda: 1.0).waits()
    clock.now_s += 9.5
    assert not waits.another() and clock.slept == []


def test_refusals_slow_down_and_answers_speed_up_again() -> None:
    clock = Clock()
    pace = Pace(clock.sleep)
    pace.wait()
    assert clock.slept == []
    for wanted in (0.01, 0.02, 0.04):
        pace.refused()
        assert pace.pause_s == wanted
    pace.wait()
    assert clock.slept == [0.04] and pace.slept_s == 0.04
    pace.answered()
    assert pace.pause_s == pytest.approx(0.03)
    for _ in range(5):
        pace.answered()
    assert pace.pause_s == 0
    for _ in range(20):
        pace.refused()
    assert pace.pause_s == 2.0


def test_only_what_may_pass_is_tried_again() -> None:
    code = grpc.StatusCode
    for good in (code.UNAVAILABLE, code.DEADLINE_EXCEEDED, code.RESOURCE_EXHAUSTED):
        assert is_worth_another_try(Error(good))
    for final in (code.INVALID_ARGUMENT, code.UNAUTHENTICATED, code.UNIMPLEMENTED):
        assert not is_worth_another_try(Error(final))
    large = Error(code.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)")
    assert not is_overload(large) and not is_worth_another_try(large)
    assert is_overload(Error(code.RESOURCE_EXHAUSTED, "queue_full: come later"))


def test_addresses_are_shards_of_replicas() -> None:
    assert parse_shards("grpc://a:1|b:2, grpc://[::1]:3") == (
        ("a:1", "b:2"),
        ("[::1]:3",),
    )
    assert is_served("grpc://a:1") and not is_served("gs://a/b")


@pytest.mark.parametrize(
    "text",
    ["grpc://a", "grpc://a:1,", "grpc://a:1|", "grpc://:1", "http://a:1", "a:b",
     "grpc://a:99999", "grpc://a:1/x", "grpc://a:1|a:1"],
)  # fmt: skip
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(InputError, match="bad_address"):
        parse_shards(text)
