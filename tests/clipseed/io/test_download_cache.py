"""Copies on a scratch disk that is large enough, too small, or full."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from clipseed.errors import InputError
from clipseed.io.download_cache import DownloadCache, MakeRoom

MIB = 2**20


class Source:
    """Files of given sizes, and how often each was fetched."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes
        self.fetched: list[str] = []

    def use(
        self, copies: DownloadCache, name: str, limit_bytes: int = 100
    ) -> AbstractContextManager[str]:
        def fetch(path: str, make_room: MakeRoom) -> None:
            self.fetched.append(name)
            with open(path, "wb") as file:
                for size in range(1, self.sizes[name] + 1):
                    make_room(size)
                    file.write(b"x")

        return copies.use(name, ".mp4", fetch, limit_bytes)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def copies(root: Path) -> Iterator[DownloadCache]:
    copies = DownloadCache()
    yield copies
    copies.empty()
    assert os.listdir(tempfile.gettempdir()) == []


def test_what_was_not_used_for_longest_goes_first(copies: DownloadCache) -> None:
    source = Source(a=40, b=40, c=40)
    for name in "ababaca":
        with source.use(copies, name) as path:
            assert os.path.getsize(path) == 40
            assert path.endswith(".mp4")
    assert source.fetched == ["a", "b", "c"]
    with source.use(copies, "b"):
        pass
    assert source.fetched == ["a", "b", "c", "b"]


def test_what_is_larger_than_the_limit_is_refused(copies: DownloadCache) -> None:
    source = Source(small=40, large=101)
    with source.use(copies, "small"):
        pass
    with (
        pytest.raises(InputError, match="--scratch_gib") as caught,
        source.use(copies, "large"),
    ):
        pass
    assert caught.value.reason == "too_large"


def test_threads_that_want_one_file_fetch_it_once(copies: DownloadCache) -> None:
    source = Source(a=90)
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        with source.use(copies, "a") as path:
            assert os.path.getsize(path) == 90

    run_all([use] * 8)
    assert source.fetched == ["a"]


def test_copies_that_do_not_fit_together_take_turns(copies: DownloadCache) -> None:
    source = Source(**{name: 60 for name in "abcdef"})
    ended = []

    def use(name: str) -> None:
        with source.use(copies, name) as path:
            assert os.path.getsize(path) == 60
            ended.append(name)

    run_all([lambda name=name: use(name) for name in "abcdef" * 3])
    assert sorted(ended) == sorted("abcdef" * 3)


def run_all(works: list[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert errors == []


def test_a_fetch_that_fails_leaves_nothing_and_may_be_repeated(
    copies: DownloadCache,
) -> None:
    def fail(path: str, make_room: MakeRoom) -> None:
        make_room(90)
        Path(path).write_bytes(b"part")
        raise InputError("unreachable", "gone")

    source = Source(a=90)
    for _ in range(2):
        with (
            pytest.raises(InputError, match="unreachable"),
            copies.use("a", "", fail, 100),
        ):
            pass
    with source.use(copies, "a") as path:
        assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


# --- a disk that is really full ------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Mount a disk of 4 MiB for temporary files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if (
        not shutil.which("mount")
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("mounting a small disk needs more rights")
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
    disk.rmdir()


def write(size_bytes: int, path: str) -> None:
    with open(path, "wb") as file:
        for _ in range(size_bytes // 1024):
            file.write(b"x" * 1024)


def test_a_full_disk_refuses_what_has_no_room_alone(
    small_disk: Path, copies: DownloadCache
) -> None:
    with copies.use("a", "", lambda path, _: write(3 * MIB, path), 100 * MIB):
        pass
    with copies.use("b", "", lambda path, _: write(3 * MIB, path), 100 * MIB) as path:
        assert os.path.getsize(path) == 3 * MIB  # In the place of the first.
    with (
        pytest.raises(InputError, match="TMPDIR") as caught,
        copies.use("c", "", lambda path, _: write(5 * MIB, path), 100 * MIB),
    ):
        pass
    assert caught.value.reason == "scratch_full"


def test_on_a_full_disk_copies_take_turns(
    small_disk: Path, copies: DownloadCache
) -> None:
    ended = []

    def use(name: str) -> None:
        fetch = lambda path, _: write(3 * MIB, path)  # noqa: E731
        with copies.use(name, "", fetch, 100 * MIB) as path:
            assert os.path.getsize(path) == 3 * MIB
            ended.append(name)

    run_all([lambda name=name: use(name) for name in "abcabc"])
    assert sorted(ended) == sorted("abcabc")


def test_what_is_kept_leaves_as_much_to_others(
    small_disk: Path, copies: DownloadCache
) -> None:
    def fetch(path: str, make_room: MakeRoom) -> None:
        make_room(MIB)
        write(MIB, path)

    paths = []
    for name in "abc":
        with copies.use(name, "", fetch, 100 * MIB) as path:
            paths.append(path)
    # With two of its four MiB kept the others have two; a third would leave them one.
    assert [os.path.exists(path) for path in paths] == [False, True, True]
    write(3 * MIB // 2, str(small_disk / "of others"))
    with copies.use("c", "", fetch, 100 * MIB) as path:
        assert path == paths[2]
    assert [os.path.exists(path) for path in paths] == [False, False, True]
    os.unlink(small_disk / "of others")
