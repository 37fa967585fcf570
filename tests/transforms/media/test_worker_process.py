import os
import signal
import time
from collections.abc import Iterator

import pytest

from clipseed.errors import InputError
from transforms.media.worker_process import Isolation


def count(n: int) -> Iterator[int]:
    yield from range(n)


def big(n: int) -> Iterator[bytes]:
    for _ in range(n):
        yield b"x" * 3_000_000


def noisy() -> Iterator[int]:
    print("a library prints", flush=True)
    os.write(1, b"from C")
    yield 1


def refuse() -> Iterator[int]:
    yield 1
    raise InputError("bad_thing", "what to do")


def hang() -> Iterator[int]:
    yield 1
    time.sleep(3600)


def crash() -> Iterator[int]:
    yield 1
    os.kill(os.getpid(), signal.SIGSEGV)


def bug() -> Iterator[int]:
    yield 1 // 0


@pytest.fixture(params=[True, False], ids=["child", "in-process"])
def isolation(request: pytest.FixtureRequest) -> Iterator[Isolation]:
    isolation = Isolation(request.param)
    yield isolation
    isolation.close()


@pytest.fixture
def child() -> Iterator[Isolation]:
    isolation = Isolation(True)
    yield isolation
    isolation.close()


def test_items_come_through_call_after_call(isolation: Isolation) -> None:
    for n in (3, 0, 2):
        assert list(isolation.iterate(count, n, limit_s=10)) == list(range(n))


def test_large_items(isolation: Isolation) -> None:
    sizes = [len(item) for item in isolation.iterate(big, 5, limit_s=10)]
    assert sizes == [3_000_000] * 5


def test_prints_do_not_mix_with_replies(isolation: Isolation) -> None:
    assert list(isolation.iterate(noisy, limit_s=10)) == [1]


def test_reject_comes_through_after_the_items(isolation: Isolation) -> None:
    got = []
    with pytest.raises(InputError, match="what to do") as caught:
        for item in isolation.iterate(refuse, limit_s=10):
            got.append(item)
    assert got == [1] and caught.value.reason == "bad_thing"
    assert list(isolation.iterate(count, 2, limit_s=10)) == [0, 1]


@pytest.mark.parametrize(
    ("function", "limit_s", "reason"),
    [(hang, 0.1, "decode_timeout"), (crash, 10, "decoder_crashed")],
)
def test_hang_and_crash_end_one_call_only(
    child: Isolation, function: object, limit_s: float, reason: str, monkeypatch
) -> None:
    monkeypatch.setattr("transforms.media.worker_process._GRACE_S", 0.3)
    got = []
    with pytest.raises(InputError) as caught:
        for item in child.iterate(function, limit_s=limit_s):
            got.append(item)
    assert got == [1] and caught.value.reason == reason
    assert list(child.iterate(count, 2, limit_s=10)) == [0, 1]


def tell_pid() -> Iterator[int]:
    yield os.getpid()
    time.sleep(3600)


def test_a_child_killed_from_outside_ends_one_call_only(child: Isolation) -> None:
    items = child.iterate(tell_pid, limit_s=60)
    os.kill(next(items), signal.SIGKILL)  # As the system does when memory is full.
    with pytest.raises(InputError, match="SIGKILL") as caught:
        next(items)
    assert caught.value.reason == "decoder_crashed"
    assert list(child.iterate(count, 2, limit_s=10)) == [0, 1]


def test_a_child_killed_between_calls_costs_nothing(child: Isolation) -> None:
    (pid,) = child.iterate(own_pid, limit_s=60)
    os.kill(pid, signal.SIGKILL)
    assert list(child.iterate(count, 2, limit_s=10)) == [0, 1]


def own_pid() -> Iterator[int]:
    yield os.getpid()


def test_a_bug_is_no_dead_letter(child: Isolation) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(child.iterate(bug, limit_s=10))
    assert list(child.iterate(count, 2, limit_s=10)) == [0, 1]


def test_abandoned_call_does_not_leak_into_the_next(child: Isolation) -> None:
    for item in child.iterate(count, 100, limit_s=10):
        assert item == 0
        break
    assert list(child.iterate(count, 2, limit_s=10)) == [0, 1]
