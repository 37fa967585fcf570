"""Files by reference: local paths, `gs://` and `http(s)://`, all bounded.

    data = fetch("https://host/cat.jpg", FetchConfig())
    download("https://host/film.mp4", "/tmp/film.mp4", FetchConfig(), 2**32)

The URLs are untrusted. Each rule is for one thing that a server can do:

- It redirects into the private network: the address of every hop is checked, and the
  number of hops is limited (see `ssrf` for why no HTTP library does this).
- It sends without end, or declares another length: bytes are counted as they arrive.
- It sends one byte a minute: wall-clock time is limited, not the time per read.
- It fails for a moment (connection error, 429, 5xx): the request is retried with
  jitter; `Retry-After` is followed, up to a limit of ours.
- It closes early: a body shorter than its declared length is a failure to retry.

A failure that may not recur is a `_TransientError` around its `InputError`; `_retry`
unwraps it after the last attempt. The caller's own exceptions (a full disk) pass
through unchanged.
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

import tenacity

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
_MAX_WAIT_S = 30.0  # also when a server's Retry-After asks for more
_PIECE_BYTES = 64 * 1024
_DOWNLOAD_S = 3600.0


@dataclass(frozen=True)
class FetchConfig:
    """Limits of a fetch, and the addresses that it may connect to.

    Attributes:
        timeout_s: limit of one attempt of `fetch`, redirects included; for `download`,
            limit of the time without a byte from the server. Name resolution has the
            system's own limit.
        max_bytes: size limit of `fetch`; `download` takes its own.
        retries: attempts after the first, on a connection error, a 429 or a 5xx.
        user_agent: sent with every request, so that a host's owner can identify us.
        allow_private: also connect to loopback, private and other special addresses.
        scratch_bytes: limit of the video copies that a process holds at a time.
    """

    timeout_s: float = 10.0
    max_bytes: int = 20 * 1024 * 1024
    retries: int = 3
    user_agent: str = "clipseed/0.1 (+https://github.com/clipseed)"
    allow_private: bool = False
    scratch_bytes: int = 16 * 2**30


class _TransientError(Exception):
    """A failure that may not recur, and the shortest wait that the server asked for."""

    def __init__(self, error: InputError, wait_s: float = 0.0) -> None:
        super().__init__(error, wait_s)
        self.error = error
        self.wait_s = wait_s


def fetch(
    uri: str, config: FetchConfig, sleep: Callable[[float], None] = time.sleep
) -> bytes:
    """Read a whole file or URL.

    Args:
        uri: a local path, `gs://`, `http://` or `https://`.
        config: the limits.
        sleep: waits between attempts; tests pass a fake clock.

    Raises:
        InputError: `unsupported_scheme`, `not_found`, `unreadable`, `too_large`; for
            URLs also `invalid_url`, `private_address`, `unreachable`, `timeout`,
            `too_many_redirects` and `http_<status>`. Timeouts are not retried, so that
            a slow host costs `timeout_s` only once.
    """
    if not is_web(uri):
        return read_bytes(uri, config.max_bytes)
    permitted = _permitted(config)
    return _retry(lambda: fetch_once(uri, config, permitted), config, sleep)


def fetch_once(
    url: str, config: FetchConfig, permitted: Callable[[str], bool]
) -> bytes:
    """Read a URL in one attempt; follow redirects and check the address of each hop.

    Args:
        url: `http://` or `https://`.
        config: the limits; `allow_private` is ignored.
        permitted: whether an IP address may be connected to.

    Raises:
        InputError: as `fetch`.
        _TransientError: around an `InputError` that may not recur.
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
    """Stream a URL to a file, which is overwritten; each attempt starts from byte 0.

    Args:
        url: `http://` or `https://`.
        path: local; after a failure it may hold a part, for the caller to delete.
        config: the limits, except for the size.
        max_bytes: size limit of the response body.
        total_s: limit in seconds of all attempts together, writing included.
        make_room: called before each piece with the size that the file will have.
        sleep: as for `fetch`.

    Raises:
        InputError: as `fetch` for URLs.
        OSError: `path` cannot be written, which is not the input's fault.
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
                deadline.renew()  # The time of a slow disk is not the server's.

    _retry(attempt, config, sleep)


def is_web(uri: str) -> bool:
    """Return whether a name is `http://` or `https://`."""
    return uri.lower().startswith(("http://", "https://"))


def _permitted(config: FetchConfig) -> Callable[[str], bool]:
    return (lambda _: True) if config.allow_private else is_public


def _retry(
    attempt: Callable[[], _T], config: FetchConfig, sleep: Callable[[float], None]
) -> _T:
    """Call `attempt` until it succeeds or fails for good, `retries` times more at most.

    Raises:
        InputError: the last failure.
    """
    try:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TransientError),
            stop=tenacity.stop_after_attempt(config.retries + 1),
            wait=_wait_s,
            sleep=sleep,
            reraise=True,
        )(attempt)
    except _TransientError as failure:
        raise failure.error from failure


def _wait_s(state: tenacity.RetryCallState) -> float:
    """Return the wait: exponential, but at least what the server asked for."""
    failure = state.outcome.exception() if state.outcome else None
    asked_s = failure.wait_s if isinstance(failure, _TransientError) else 0.0
    # Jitter spreads the workers that one host turned away together.
    backoff_s = _FIRST_WAIT_S * 2 ** (state.attempt_number - 1)
    return min(max(backoff_s * random.uniform(0.5, 1), asked_s), _MAX_WAIT_S)


def _pieces(
    url: str,
    config: FetchConfig,
    max_bytes: int,
    deadline: Deadline,
    permitted: Callable[[str], bool],
) -> Generator[bytes, None, None]:
    """Yield the body of one response in pieces.

    A generator, so that what the reader raises between two pieces (a full disk) is not
    mistaken for a network error.
    """
    target = parse_url(url)
    for _ in range(_MAX_REDIRECTS + 1):
        with _network_errors(url), connect(target, deadline, permitted) as sock:
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
    raise InputError(
        "too_many_redirects",
        f"{url}: more than {_MAX_REDIRECTS} redirects; use the final URL",
    )


def _request(
    target: Target, sock: DeadlineSocket, config: FetchConfig
) -> http.client.HTTPResponse:
    https = target.scheme == "https"
    kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
    connection = kind(target.host, target.port)
    connection.sock = sock  # so that it does not connect by itself
    headers = {"User-Agent": config.user_agent, "Accept": "*/*", "Connection": "close"}
    connection.request("GET", target.path, headers=headers)
    return connection.getresponse()


def _check_status(url: str, response: http.client.HTTPResponse) -> None:
    status = response.status
    if status == http.client.OK:
        return
    error = InputError(f"http_{status}", f"{url}: {status} {response.reason}")
    if status == http.client.TOO_MANY_REQUESTS or status >= 500:
        wait_s = _retry_after_s(response.getheader("Retry-After", ""))
        raise _TransientError(error, wait_s)
    raise error


def _retry_after_s(value: str) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3), or 0."""
    if value.strip().isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
        return (when - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # not a date, or one without a zone
        return 0.0


def _read_body(
    url: str, response: http.client.HTTPResponse, max_bytes: int
) -> Iterator[bytes]:
    """Yield the body to its end; the declared length is not trusted."""
    too_large = InputError(
        "too_large", f"{url} has more than the {max_bytes} bytes allowed"
    )
    if (response.length or 0) > max_bytes:
        raise too_large
    size = 0
    while piece := response.read(_PIECE_BYTES):
        size += len(piece)
        if size > max_bytes:
            raise too_large
        yield piece
    if response.length:
        missing = f"{url}: the connection closed {response.length} bytes too early"
        raise _TransientError(InputError("unreachable", missing))


@contextlib.contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Turn the network's exceptions into an `InputError` or a `_TransientError`."""
    try:
        yield
    except TimeoutError as error:
        message = f"{url}: the server was too slow; raise the time limit, or try later"
        raise InputError("timeout", message) from error
    except ssl.SSLCertVerificationError as error:
        raise InputError("unreachable", f"{url}: {error.verify_message}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransientError(InputError("unreachable", f"{url}: {error!r}")) from error
