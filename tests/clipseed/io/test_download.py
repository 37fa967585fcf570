"""Copies of videos from a real server on this machine, a bucket and a folder."""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.io.download import downloads_deleted, local_copy
from clipseed.io.http import FetchConfig, download
from tests.support.web_server import Handler, Server, in_turn, ok, raw, respond

# What `fetch` would refuse as too large must not matter here.
OPEN = FetchConfig(allow_private=True, timeout_s=5.0, max_bytes=1)
HASTY = FetchConfig(allow_private=True, timeout_s=0.4)
FILM = os.urandom(1_000_000)
UNBOUNDED = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Point the scratch disk at an empty folder."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with downloads_deleted():
        yield folder


def reason(uri: str, config: FetchConfig = OPEN) -> str:
    with pytest.raises(InputError) as caught, local_copy(uri, config):
        pass
    return caught.value.reason


def left_in(scratch: Path) -> list[str]:
    """List the scratch disk after the end of the job."""
    with downloads_deleted():
        pass
    return os.listdir(scratch)


def test_a_film_of_the_web_is_copied_and_deleted(server: Server, scratch: Path) -> None:
    server.answer = in_turn(
        respond(302, Location="/b/film.mp4?x=1"), respond(body=FILM)
    )
    with local_copy(f"{server.url}/a.webm?y=.avi", OPEN) as path:
        assert Path(path).read_bytes() == FILM
        assert path.endswith(".webm")
        assert scratch in Path(path).parents
    assert left_in(scratch) == []


@pytest.mark.parametrize("name", ["", "film", "a.b/film", "x." + "y" * 300, "é.mé"])
def test_a_suffix_that_is_none_is_left_out(server: Server, name: str) -> None:
    with local_copy(f"{server.url}/{name}", OPEN) as path:
        assert "." not in os.path.basename(path)


def test_the_copy_is_deleted_when_the_work_fails(server: Server, scratch: Path) -> None:
    with pytest.raises(ZeroDivisionError), local_copy(server.url, OPEN):
        raise ZeroDivisionError
    assert left_in(scratch) == []


def test_files_that_are_here_stay_where_they_are(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(FILM)
    with local_copy(str(film), OPEN) as path:
        assert path == str(film)
    assert film.exists()
    assert reason(str(tmp_path / "absent.mp4")) == "not_found"
    assert reason("ftp://host/film.mp4") == "unsupported_scheme"


def test_files_of_a_bucket_are_copied(bucket: str, scratch: Path) -> None:
    storage.write_bytes(f"{bucket}/film.mp4", FILM)
    with local_copy(f"{bucket}/film.mp4", OPEN) as path:
        assert Path(path).read_bytes() == FILM
    assert left_in(scratch) == []
    assert reason(f"{bucket}/absent.mp4") == "not_found"


def test_a_film_is_fetched_once_while_it_is_kept(server: Server, bucket: str) -> None:
    storage.write_bytes(f"{bucket}/kept.mp4", FILM)
    for uri in (f"{server.url}/film.mp4", f"{bucket}/kept.mp4"):
        paths = set()
        for _ in range(3):
            with local_copy(uri, OPEN) as path:
                paths.add(path)
        assert len(paths) == 1
        with downloads_deleted():
            assert os.path.exists(path)
        assert not os.path.exists(path)
    assert len(server.requests) == 1


def test_size_is_bounded_whatever_is_declared(server: Server, scratch: Path) -> None:
    for answer in (respond(body=FILM), raw(UNBOUNDED + FILM)):
        server.answer = answer
        small = replace(OPEN, scratch_bytes=len(FILM) - 1)
        assert reason(server.url, small) == "too_large"
        with local_copy(server.url, replace(OPEN, scratch_bytes=len(FILM))) as path:
            assert os.path.getsize(path) == len(FILM)
        assert left_in(scratch) == []


def test_private_addresses_are_refused(server: Server) -> None:
    assert reason(server.url, FetchConfig()) == "private_address"
    assert server.requests == []


@pytest.mark.parametrize("url", ["http://[::1/", "http://:80/film.mp4"])
def test_senseless_urls(url: str) -> None:
    assert reason(url) == "invalid_url"


def test_what_is_not_there_is_told_at_once(server: Server) -> None:
    server.answer = respond(404, b"")
    assert reason(server.url) == "http_404"
    assert len(server.requests) == 1


def test_a_broken_download_starts_anew(server: Server, tmp_path: Path) -> None:
    short = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + FILM)
    server.answer = in_turn(short, respond(503), ok)
    waits: list[float] = []
    download(server.url, str(tmp_path / "x"), OPEN, 2**22, sleep=waits.append)
    assert (tmp_path / "x").read_bytes() == b"pixels"
    assert len(waits) == 2


def test_a_slow_film_may_take_longer_than_the_timeout(server: Server) -> None:
    server.answer = raw(UNBOUNDED, *[b"x"] * 12, pause_s=0.1)
    start_s = time.monotonic()
    with local_copy(server.url, HASTY) as path:
        assert Path(path).read_bytes() == b"x" * 12
    assert time.monotonic() - start_s > 2 * HASTY.timeout_s


def test_a_film_that_stands_still_times_out(server: Server, scratch: Path) -> None:
    server.answer = raw(UNBOUNDED, b"x", b"", pause_s=1.5)
    start_s = time.monotonic()
    assert reason(server.url, HASTY) == "timeout"
    assert HASTY.timeout_s <= time.monotonic() - start_s < 1.5
    assert len(server.requests) == 1
    assert left_in(scratch) == []


def test_a_drip_ends_at_the_total(server: Server, tmp_path: Path) -> None:
    server.answer = raw(UNBOUNDED, *[b"x"] * 40, pause_s=0.1)
    start_s = time.monotonic()
    with pytest.raises(InputError, match="timeout"):
        download(server.url, str(tmp_path / "x"), HASTY, 2**20, total_s=1.0)
    assert 1.0 <= time.monotonic() - start_s < 2.5


def test_the_total_limits_all_attempts(server: Server, tmp_path: Path) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.2)
        respond(503)(handler)

    server.answer = slow
    with pytest.raises(InputError, match="timeout"):
        download(
            server.url,
            str(tmp_path / "x"),
            HASTY,
            2**20,
            total_s=0.5,
            sleep=lambda _: None,
        )
    assert len(server.requests) == 3


def test_a_full_disk_is_not_the_servers_fault(server: Server) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    server.answer = respond(body=FILM)
    with pytest.raises(OSError, match="No space"):
        download(server.url, "/dev/full", OPEN, 2**20)
    assert len(server.requests) == 1
