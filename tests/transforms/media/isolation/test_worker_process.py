import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipseed.errors import InputError
from models.pretrained.resizing import squeeze
from transforms.media.isolation.containment import TooManyFailures, canary
from transforms.media.isolation.worker_process import Isolation
from transforms.media.media_file import MediaFile
from transforms.media.sample_frames import SamplingConfig, extract_frames
from transforms.media.video_parts import video_parts


def count(n: int) -> Iterator[int]:
    yield from range(n)


def big(n: int) -> Iterator[bytes]:
    for _ in range(n):
        yield b"x" * 3_000_000


def noisy() -> Iterator[int]:
    print("a library prints", flush=True)
    os.write(1, b"from C")
    yield 1


def loud() -> Iterator[int]:
    os.write(2, b"libtiff: bad tag")
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
    yield 1
    yield 1 // 0


def succeed() -> Iterator[int]:
    yield 1


def want_memory() -> Iterator[int]:
    yield 1
    raise MemoryError


def take_memory(size: int) -> Iterator[int]:
    yield len(bytearray(size))


def unpicklable() -> Iterator[object]:
    yield lambda: None


def spin() -> Iterator[int]:
    while True:
        pass
    yield 1


def read_all(file: MediaFile, times: int = 1) -> Iterator[tuple]:
    for _ in range(times):
        reader = file.reader()
        whole = reader.read(100)
        reader.seek(1)
        yield file.suffix, file.size_bytes, whole, reader.read(100)


@pytest.fixture(autouse=True)
def fresh_canary() -> Iterator[None]:
    canary.reset()
    yield
    canary.reset()


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
    monkeypatch.setattr("transforms.media.isolation.worker_process.GRACE_S", 0.3)
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


@pytest.mark.parametrize(
    ("function", "reason"),
    [(bug, "decoder_error"), (want_memory, "decoder_memory")],
)
def test_whatever_is_raised_ends_one_call_only(
    isolation: Isolation, function: Any, reason: str
) -> None:
    items = isolation.iterate(function, limit_s=10)
    assert next(items) == 1
    with pytest.raises(InputError) as caught:
        next(items)
    assert caught.value.reason == reason
    assert list(isolation.iterate(count, 2, limit_s=10)) == [0, 1]


def test_an_unexpected_error_says_what_it_was(isolation: Isolation) -> None:
    with pytest.raises(InputError, match=r"ZeroDivisionError: .*please report"):
        list(isolation.iterate(bug, limit_s=10))


def test_an_item_that_cannot_travel_ends_one_call_only(child: Isolation) -> None:
    with pytest.raises(InputError) as caught:
        list(child.iterate(unpicklable, limit_s=10))
    assert caught.value.reason == "decoder_error"
    assert list(child.iterate(count, 2, limit_s=10)) == [0, 1]


def test_memory_is_limited(child: Isolation) -> None:
    with pytest.raises(InputError) as caught:
        list(child.iterate(take_memory, 8 << 30, limit_s=10))
    assert caught.value.reason == "decoder_memory"
    assert list(child.iterate(take_memory, 1 << 30, limit_s=10)) == [1 << 30]


def test_cpu_time_is_limited(child: Isolation, monkeypatch: Any) -> None:
    monkeypatch.setattr("transforms.media.isolation.worker_process.GRACE_S", 60)
    with pytest.raises(InputError, match="CPU") as caught:
        list(child.iterate(spin, limit_s=-4))  # In the child the grace is 5 s.
    assert caught.value.reason == "decode_timeout"


def test_the_input_arrives_as_an_open_file(
    isolation: Isolation, tmp_path: Path
) -> None:
    for text in (b"one", b"two"):
        (tmp_path / "a.mp4").write_bytes(text)
        path = str(tmp_path / "a.mp4")
        found = list(isolation.iterate(read_all, 2, file=path, limit_s=10))
        assert found == [(".mp4", 3, text, text[1:])] * 2


def test_a_file_that_cannot_be_opened_is_told(
    isolation: Isolation, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for name in ("pipe.mp4", "absent.mp4", "."):
        with pytest.raises(InputError) as caught:
            list(isolation.iterate(read_all, file=str(tmp_path / name), limit_s=10))
        assert caught.value.reason == "unreadable"


def run_out(isolation: Isolation, function: Any, times: int) -> int:
    """Iterate over a function again and again; return how often it was refused."""
    refused = 0
    for _ in range(times):
        try:
            list(isolation.iterate(function, limit_s=10))
        except InputError:
            refused += 1
    return refused


def test_a_job_whose_first_inputs_all_fail_stops() -> None:
    with pytest.raises(TooManyFailures, match=r"20 of the first 20 .*ZeroDivision"):
        run_out(Isolation(isolate=False), bug, 20)


def test_what_an_input_may_cause_stops_no_job() -> None:
    assert run_out(Isolation(isolate=False), refuse, 100) == 100


def test_half_of_the_inputs_may_fail_and_later_ones_all() -> None:
    isolation = Isolation(isolate=False)
    for _ in range(canary.judged // 2):
        assert run_out(isolation, succeed, 1) == 0
        assert run_out(isolation, bug, 1) == 1
    assert run_out(isolation, bug, 2000) == 2000


def test_abandoned_call_does_not_leak_into_the_next(child: Isolation) -> None:
    for item in child.iterate(count, 100, limit_s=10):
        assert item == 0
        break
    assert list(child.iterate(count, 2, limit_s=10)) == [0, 1]


def test_a_later_call_may_need_code_that_the_first_did_not(
    child: Isolation, tmp_path: Path
) -> None:
    """Packages that the first call does not load were closed to all later ones."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    first = child.iterate(video_parts, 9.0, file=str(path), limit_s=9)
    with pytest.raises(InputError, match="not_a_video"):
        list(first)
    assert child._child is not None
    process = child._child._process
    config = SamplingConfig(1.0, "exact", squeeze(8), 9.0, 9.0)
    with pytest.raises(InputError, match="not_a_video"):
        list(child.iterate(extract_frames, 0, 9, config, file=str(path), limit_s=9))
    assert child._child._process is process


def test_what_a_library_says_of_an_input_is_dropped(
    child: Isolation, capfd: pytest.CaptureFixture[str]
) -> None:
    assert list(child.iterate(loud, limit_s=9)) == [1]
    assert capfd.readouterr() == ("", "")


def test_reading_is_limited_and_counted(isolation: Isolation, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(50))
    limits = {"file": str(path), "limit_s": 9.0}
    assert len(list(isolation.iterate(read_all, 2, max_bytes=198, **limits))) == 2
    assert isolation.read_bytes == 2 * (50 + 49)
    with pytest.raises(InputError, match="read_too_often"):
        list(isolation.iterate(read_all, 9, max_bytes=198, **limits))
    assert 198 < isolation.read_bytes <= 198 + 50
    with pytest.raises(InputError, match="read_too_often"):
        list(isolation.iterate(video_parts, 9.0, max_bytes=10, **limits))
