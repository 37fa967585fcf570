"""Fetching from real servers on this machine, well- and ill-behaved."""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from clipseed.errors import InputError
from clipseed.io.http import FetchConfig, fetch, fetch_once
from tests.support.web_server import Handler, Server, in_turn, ok, raw, respond

OPEN = FetchConfig(allow_private=True, timeout_s=5.0, max_bytes=1000)
UNBOUNDED = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HASTY = FetchConfig(allow_private=True, timeout_s=0.4, max_bytes=1000)


def reason(uri: str, config: FetchConfig = OPEN) -> str:
    with pytest.raises(InputError) as caught:
        fetch(uri, config, sleep=lambda _: None)
    return caught.value.reason


def test_the_body_comes_back_and_the_request_says_who_asks(server: Server) -> None:
    assert fetch(f"{server.url}/a%20b?x=1&y=é c", OPEN) == b"pixels"
    path, headers = server.requests[0]
    assert path == "/a%20b?x=1&y=%C3%A9%20c"
    assert headers["User-Agent"].startswith("clipseed/")
    assert headers["Host"] == server.url.removeprefix("http://")
    assert fetch(server.url, OPEN) == b"pixels"
    assert server.requests[1][0] == "/"


def test_chunked_and_unbounded_bodies(server: Server) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    chunked = (
        head + b"Transfer-Encoding: chunked\r\n\r\n3\r\npix\r\n3\r\nels\r\n0\r\n\r\n"
    )
    server.answer = in_turn(raw(chunked), raw(head + b"\r\npixels"))
    assert fetch(server.url, OPEN) == b"pixels"
    assert fetch(server.url, OPEN) == b"pixels"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 304])
def test_a_client_error_is_not_tried_again(server: Server, status: int) -> None:
    server.answer = respond(status, b"")
    assert reason(server.url) == f"http_{status}"
    assert len(server.requests) == 1


def test_server_errors_are_tried_again_with_growing_waits(server: Server) -> None:
    server.answer = in_turn(respond(500), respond(503), respond(429), ok)
    waits: list[float] = []
    assert fetch(server.url, OPEN, sleep=waits.append) == b"pixels"
    assert len(server.requests) == 4
    for wait, longest in zip(waits, [0.5, 1.0, 2.0], strict=True):
        assert longest / 2 <= wait <= longest


def test_tries_end(server: Server) -> None:
    server.answer = respond(503)
    assert reason(server.url) == "http_503"
    assert len(server.requests) == 1 + OPEN.retries


def test_retry_after_is_followed_up_to_a_limit(server: Server) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    server.answer = in_turn(
        respond(429, Retry_After="7"),
        respond(503, Retry_After=date),
        respond(503, Retry_After="86400"),
        ok,
    )
    waits: list[float] = []
    fetch(server.url, OPEN, sleep=waits.append)
    assert waits[0] == 7.0
    assert 17 < waits[1] <= 20
    assert waits[2] == 30.0


@pytest.mark.parametrize("value", ["soon", "-5", "Wed, 99 Foo", "1.5"])
def test_a_senseless_retry_after_is_ignored(server: Server, value: str) -> None:
    server.answer = in_turn(respond(503, Retry_After=value), ok)
    waits: list[float] = []
    fetch(server.url, OPEN, sleep=waits.append)
    assert 0.25 <= waits[0] <= 0.5


def test_size_is_bounded_whatever_is_declared(server: Server) -> None:
    body = b"x" * 1001
    for answer in (
        respond(body=body),
        raw(UNBOUNDED + body),
        raw(CHUNKED + b"3E9\r\n" + body + b"\r\n0\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
    ):
        server.answer = answer
        assert reason(server.url) == "too_large"
    server.answer = respond(body=body[:1000])
    assert fetch(server.url, OPEN) == body[:1000]
    server.answer = respond(body=body, Content_Length="10")
    assert fetch(server.url, OPEN) == body[:10]


def test_an_endless_body_is_cut_off(server: Server) -> None:
    sent: list[int] = []

    def endless(handler: Handler) -> None:
        handler.wfile.write(UNBOUNDED)
        while len(sent) < 10_000:
            sent.append(handler.wfile.write(b"x" * 65536))

    server.answer = endless
    assert reason(server.url) == "too_large"
    assert len(sent) < 10_000


def test_a_body_shorter_than_declared_is_tried_again(server: Server) -> None:
    short = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npix")
    chunk = raw(CHUNKED + b"6\r\npix")
    server.answer = in_turn(short, chunk, ok)
    assert fetch(server.url, OPEN, sleep=lambda _: None) == b"pixels"
    server.answer = short
    assert reason(server.url) == "unreachable"


@pytest.mark.parametrize(
    "pieces",
    [
        [UNBOUNDED, *[b"x"] * 30],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", *[b"x"] * 30],
        [CHUNKED, *[b"0"] * 30],
        [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 30],
        [bytes([byte]) for byte in b"HTTP/1.1 200 very OK indeed"],
        [b""] * 30,
    ],
    ids=["body", "length", "chunked", "headers", "status", "silence"],
)
def test_a_drip_ends_at_the_deadline(server: Server, pieces: list[bytes]) -> None:
    server.answer = raw(*pieces, pause_s=0.1)
    start_s = time.monotonic()
    assert reason(server.url, HASTY) == "timeout"
    assert HASTY.timeout_s <= time.monotonic() - start_s < 3 * HASTY.timeout_s
    assert len(server.requests) == 1


def test_the_deadline_covers_redirects(server: Server) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.15)
        respond(302, Location=f"/{len(server.requests)}")(handler)

    server.answer = slow
    assert reason(server.url, HASTY) == "timeout"
    assert len(server.requests) <= 4


def test_no_server_and_no_host_are_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert reason(f"http://127.0.0.1:{closed.getsockname()[1]}/") == "unreachable"
    assert reason("http://no-such-host.invalid/1.jpg") == "unreachable"


def test_a_server_that_hangs_up_is_tried_again(server: Server) -> None:
    server.answer = in_turn(raw(), raw(b"garbage\r\n\r\n"), ok)
    assert fetch(server.url, OPEN, sleep=lambda _: None) == b"pixels"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Server, status: int) -> None:
    server.answer = in_turn(respond(status, Location="b/2.jpg?q"), ok)
    assert fetch(f"{server.url}/a/1.jpg", OPEN) == b"pixels"
    assert [path for path, _ in server.requests] == ["/a/1.jpg", "/a/b/2.jpg?q"]


def test_a_redirect_may_be_written_in_utf_8(server: Server) -> None:
    head = "HTTP/1.1 302 Found\r\nLocation: /caf\u00e9\r\n\r\n".encode()
    server.answer = in_turn(raw(head), ok)
    assert fetch(server.url, OPEN) == b"pixels"
    assert server.requests[1][0] == "/caf%C3%A9"


def test_at_most_five_redirects(server: Server) -> None:
    hop = respond(302, Location="/")
    server.answer = in_turn(*[hop] * 5, ok)
    assert fetch(server.url, OPEN) == b"pixels"
    server.answer = hop
    assert reason(server.url) == "too_many_redirects"
    assert len(server.requests) == 12


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("file:///etc/hostname", "unsupported_scheme"),
        ("ftp://host/x", "unsupported_scheme"),
        ("gs://bucket/x", "unsupported_scheme"),
        ("http://[::1/", "invalid_url"),
        ("http://:80/x", "invalid_url"),
    ],
)
def test_redirects_lead_to_http_only(
    server: Server, location: str, expected: str
) -> None:
    server.answer = respond(302, Location=location)
    assert reason(server.url) == expected


def test_every_hop_is_judged(serve: Callable[..., Server]) -> None:
    """127.0.0.2 plays the internet, 127.0.0.1 the private network."""
    outside, inside = serve("127.0.0.2"), serve("127.0.0.1")
    outside.answer = respond(302, Location=inside.url)
    with pytest.raises(InputError) as caught:
        fetch_once(outside.url, OPEN, lambda address: address == "127.0.0.2")
    assert caught.value.reason == "private_address"
    assert (outside.connections, inside.connections) == (1, 0)


def test_a_name_that_changes_its_address_is_reached_where_it_was_judged(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, real = serve("127.0.0.2"), socket.getaddrinfo
    answers = iter(["127.0.0.2", "127.0.0.1"])  # DNS rebinding

    def resolver(host: Any, *arguments: Any, **options: Any) -> Any:
        chosen = next(answers) if host == "rebinding.test" else host
        return real(chosen, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    url = f"http://rebinding.test:{outside.server_port}/"
    assert fetch_once(url, OPEN, lambda address: address == "127.0.0.2") == b"pixels"
    assert outside.requests[0][1]["Host"] == f"rebinding.test:{outside.server_port}"
    assert next(answers) == "127.0.0.1"  # never asked a second time


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///etc/hostname", "unsupported_scheme"),
        ("ftp://host/x", "unsupported_scheme"),
        ("http://", "invalid_url"),
        ("http://host:99999/", "invalid_url"),
        ("http://[zz]/", "invalid_url"),
        (f"http://{'a' * 70}.com/", "invalid_url"),
        ("http://host/bytes-\udcff-not-utf-8", "invalid_url"),
    ],
)
def test_senseless_references(uri: str, expected: str) -> None:
    assert reason(uri) == expected


def test_local_paths(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"x" * 1000)
    assert fetch(str(tmp_path / "1.jpg"), OPEN) == b"x" * 1000
    (tmp_path / "2.jpg").write_bytes(b"x" * 1001)
    assert reason(str(tmp_path / "2.jpg")) == "too_large"
    assert reason(str(tmp_path / "3.jpg")) == "not_found"
