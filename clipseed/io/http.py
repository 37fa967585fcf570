"""Files by reference: local paths, `gs://` and `http(s)://`, all bounded.

    data = fetch("https://host/cat.jpg", FetchConfig())
    download("https://host/film.mp4", "/tmp/film.mp4", FetchConfig(), 2**32)

The URLs come from tables that strangers wrote. So a request is bounded in bytes and in
wall-clock time whatever the server does, and goes to public addresses only (see
`addresses`). Redirects are judged hop by hop.
"""

import contextlib
import http.client
import random
import ssl
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from clipseed.errors import InputError
from clipseed.io.ssrf import (
    Deadline,
    DeadlineSocket,
    Target,
    connect,
    is_public,
    parse_url,
)
from clipseed.io.storage import read_bytes

_T = TypeVar("_T")
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_FIRST_WAIT_S = 0.5
_MAX_WAIT_S = 30.0  # whatever a server's Retry-After asks for
_PIECE_BYTES = 64 * 1024
_DOWNLOAD_S = 3600.0


@dataclass(frozen=True)
class FetchConfig:
    """How much a fetch may take, and where it may go.

    Attributes:
        timeout_s: of `fetch`, from the first connection to the last byte of one try,
            redirects included; of `download`, without a byte from the server. Name
            resolution has the system's own limit.
        max_bytes: size of what `fetch` reads; `download` is told its own.
        retries: further tries after a connection error, a 429 or a 5xx.
        user_agent: sent with every request; says who asks.
        allow_private: also connect to loopback, private and other special addresses.
        scratch_bytes: of the copies of videos that a process has at a time.
    """

    timeout_s: float = 10.0
    max_bytes: int = 20 * 1024 * 1024
    retries: int = 3
    user_agent: str = "clipseed/0.1 (+https://github.com/clipseed)"
    allow_private: bool = False
    scratch_bytes: int = 16 * 2**30


class _Passing(Exception):
    """A failure that another try may not meet."""

    def __init__(self, reject: InputError, wait_s: float = 0.0) -> None:
        super().__init__(reject, wait_s)
        self.reject = reject
        self.wait_s = wait_s


def fetch(
    uri: str, config: FetchConfig, sleep: Callable[[float], None] = time.sleep
) -> bytes:
    """Reads a whole file or URL.

    Args:
        uri: a local path, `gs://`, `http://` or `https://`.
        config: the bounds.
        sleep: waits between tries; tests give a fake clock.

    Raises:
        InputError: `unsupported_scheme`, `not_found`, `unreadable`, `too_large`; for
            URLs also `invalid_url`, `private_address`, `unreachable`, `timeout`,
            `too_many_redirects` and `http_<status>`. Timeouts are not tried again: a
            slow host costs `timeout_s` once.
    """
    if not is_web(uri):
        return read_bytes(uri, config.max_bytes)
    permitted = _permitted(config)
    return _persist(lambda: fetch_once(uri, config, permitted), config, sleep)


def fetch_once(
    url: str, config: FetchConfig, permitted: Callable[[str], bool]
) -> bytes:
    """One try: follows redirects, judging the address of each hop.

    Args:
        url: `http://` or `https://`.
        config: the bounds; `allow_private` is not looked at.
        permitted: whether an IP address may be connected to.

    Raises:
        InputError: as `fetch`.
        _Passing: around a `InputError` that another try may not meet.
    """
    deadline = Deadline(config.timeout_s, config.timeout_s)
    return b"".join(_pieces(url, config, config.max_bytes, deadline, permitted))


def download(
    url: str,
    path: str,
    config: FetchConfig,
    max_bytes: int,
    *,
    total_s: float = _DOWNLOAD_S,
    make_room: Callable[[int], None] = lambda size_bytes: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Streams a URL to a file, which is overwritten; each new try starts it anew.

    Args:
        url: `http://` or `https://`.
        path: local; after a failure it holds what came, for the caller to delete.
        config: the bounds but for size.
        max_bytes: size of the response body.
        total_s: seconds in all, every try and what is written included.
        make_room: told the size that the file is about to have, piece by piece.
        sleep: as for `fetch`.

    Raises:
        InputError: as `fetch` for URLs.
        OSError: what cannot be written; no fault of the input.
    """
    permitted = _permitted(config)
    deadline = Deadline(config.timeout_s, total_s)

    def attempt() -> None:
        deadline.renew()
        pieces = _pieces(url, config, max_bytes, deadline, permitted)
        with open(path, "wb") as file, contextlib.closing(pieces):
            for piece in pieces:
                make_room(file.tell() + len(piece))
                file.write(piece)
                deadline.renew()  # a slow disk is no silence of the server

    _persist(attempt, config, sleep)


def is_web(uri: str) -> bool:
    """Whether a name is `http://` or `https://`."""
    return uri.lower().startswith(("http://", "https://"))


def _permitted(config: FetchConfig) -> Callable[[str], bool]:
    return (lambda _: True) if config.allow_private else is_public


def _persist(
    attempt: Callable[[], _T], config: FetchConfig, sleep: Callable[[float], None]
) -> _T:
    """Tries until it succeeds, fails for good, or has failed `retries` times more."""
    for tries in range(config.retries + 1):
        try:
            return attempt()
        except _Passing as failure:
            if tries == config.retries:
                raise failure.reject from failure
            # Jitter spreads the workers that one host turned away together.
            backoff_s = _FIRST_WAIT_S * 2**tries * random.uniform(0.5, 1)
            sleep(min(max(backoff_s, failure.wait_s), _MAX_WAIT_S))
    raise AssertionError("the last attempt returns or raises")


def _pieces(
    url: str,
    config: FetchConfig,
    max_bytes: int,
    deadline: Deadline,
    permitted: Callable[[str], bool],
) -> Generator[bytes, None, None]:
    """The body of one response, in pieces.

    A generator: what its reader raises between two pieces (a full disk) is not taken
    for a trouble of the network.
    """
    target = parse_url(url)
    for _ in range(_MAX_REDIRECTS + 1):
        with _rejecting(url), connect(target, deadline, permitted) as sock:
            deadline.renew()
            response = _request(target, DeadlineSocket(sock, deadline), config)
            location = response.getheader("Location")
            if response.status not in _REDIRECTS or location is None:
                _check_status(url, response)
                yield from _read_body(url, response, max_bytes)
                return
        # http.client reads headers as Latin-1; servers write UTF-8.
        target = parse_url(
            location.encode("latin-1").decode(errors="replace"), target.url
        )
    raise InputError("too_many_redirects", f"{url}: give the address it leads to")


def _request(
    target: Target, sock: DeadlineSocket, config: FetchConfig
) -> http.client.HTTPResponse:
    https = target.scheme == "https"
    kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
    connection = kind(target.host, target.port)
    connection.sock = sock  # so that it does not connect itself
    headers = {"User-Agent": config.user_agent, "Accept": "*/*", "Connection": "close"}
    connection.request("GET", target.path, headers=headers)
    return connection.getresponse()


def _check_status(url: str, response: http.client.HTTPResponse) -> None:
    status = response.status
    if status == http.client.OK:
        return
    reject = InputError(f"http_{status}", f"{url}: {status} {response.reason}")
    if status == http.client.TOO_MANY_REQUESTS or status >= 500:
        raise _Passing(reject, _retry_after_s(response.getheader("Retry-After", "")))
    raise reject


def _retry_after_s(value: str) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), or 0."""
    if value.strip().isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        return (when - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        return 0.0


def _read_body(
    url: str, response: http.client.HTTPResponse, max_bytes: int
) -> Iterator[bytes]:
    """Reads to the end, whatever length was declared."""
    too_large = InputError("too_large", f"{url} has more than {max_bytes} bytes")
    if (response.length or 0) > max_bytes:
        raise too_large
    size = 0
    while piece := response.read(_PIECE_BYTES):
        size += len(piece)
        if size > max_bytes:
            raise too_large
        yield piece
    if response.length:
        missing = f"{url}: the last {response.length} bytes never came"
        raise _Passing(InputError("unreachable", missing))


@contextlib.contextmanager
def _rejecting(url: str) -> Iterator[None]:
    """Turns what the network may raise into a `InputError`, or a `_Passing` one."""
    try:
        yield
    except TimeoutError as error:
        raise InputError("timeout", f"{url}: not read in time") from error
    except ssl.SSLCertVerificationError as error:
        raise InputError("unreachable", f"{url}: {error.verify_message}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(InputError("unreachable", f"{url}: {error!r}")) from error
