"""Retries and pauses, measured with a fake clock."""

import grpc
import pytest
import tenacity

from clipseed.errors import InputError
from index_service.client.addresses import is_served, parse_shards
from index_service.client.retries import (
    Pace,
    is_overload,
    is_transient,
    retrying,
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace tenacity's clock."""
    clock = Clock()
    monkeypatch.setattr(tenacity.time, "monotonic", clock)
    return clock


def jitter(monkeypatch: pytest.MonkeyPatch, *shares: float) -> None:
    """Make each wait the given share of the longest; the last share repeats."""
    left = list(shares)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * (left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(tenacity.wait.random, "uniform", uniform)


def fail() -> None:
    raise Error(grpc.StatusCode.UNAVAILABLE)


def test_waits_double_up_to_a_limit_until_patience_ends(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jitter(monkeypatch, 1.0)
    with pytest.raises(Error):
        retrying(15.0, clock.sleep)(fail)
    assert clock.slept == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]  # 11.35 s


def test_jitter_makes_waits_shorter(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jitter(monkeypatch, 0.0, 0.5, 0.25, 1.0)
    with pytest.raises(Error):
        retrying(0.2, clock.sleep)(fail)
    assert clock.slept == [0.0, 0.05, 0.05]


def test_the_time_of_attempts_counts_as_patience(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    jitter(monkeypatch, 1.0)

    def fail_slowly() -> None:
        clock.now_s += 9.98
        fail()

    with pytest.raises(Error):
        retrying(10.0, clock.sleep)(fail_slowly)
    assert clock.slept == []


def test_what_is_not_an_rpc_error_ends_the_call(clock: Clock) -> None:
    def refuse() -> None:
        raise InputError("bad_k", "k is 0")

    with pytest.raises(InputError):
        retrying(10.0, clock.sleep)(refuse)
    assert clock.slept == []


def test_refusals_slow_down_and_answers_speed_up_again() -> None:
    clock = Clock()
    pace = Pace(clock.sleep)
    pace.wait()
    assert clock.slept == []
    for wanted in (0.01, 0.02, 0.04):
        pace.slow_down()
        assert pace.pause_s == wanted
    pace.wait()
    assert clock.slept == [0.04] and pace.slept_s == 0.04
    pace.speed_up()
    assert pace.pause_s == pytest.approx(0.03)
    for _ in range(5):
        pace.speed_up()
    assert pace.pause_s == 0
    for _ in range(20):
        pace.slow_down()
    assert pace.pause_s == 2.0


def test_only_transient_errors_are_retried() -> None:
    code = grpc.StatusCode
    for good in (code.UNAVAILABLE, code.DEADLINE_EXCEEDED, code.RESOURCE_EXHAUSTED):
        assert is_transient(Error(good))
    for final in (code.INVALID_ARGUMENT, code.UNAUTHENTICATED, code.UNIMPLEMENTED):
        assert not is_transient(Error(final))
    large = Error(code.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)")
    assert not is_overload(large) and not is_transient(large)
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
def test_an_invalid_address_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="bad_address"):
        parse_shards(text)
