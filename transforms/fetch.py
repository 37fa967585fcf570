"""Seed images by reference: local paths, `gs://` and `http(s)://`, all bounded.

    data = fetch("https://host/cat.jpg", FetchConfig())

The URLs come from tables that strangers wrote. So a request is bounded in bytes and in
wall-clock time whatever the server does, and goes to public addresses only: a host name
is resolved once, every address is judged, and the connection is made to an address that
was judged, not to the name (a name may resolve differently a moment later). Redirects
are judged hop by hop. Proxy variables of the environment are not used: through a proxy
the address could not be judged.
"""

import contextlib
import functools
import http.client
import io
import ipaddress
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from transforms.elements import Reject
from transforms.storage import read_bytes

_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_FIRST_WAIT_S = 0.5
_MAX_WAIT_S = 30.0  # whatever a server's Retry-After asks for
_PIECE_BYTES = 64 * 1024
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: carries an IPv4 address
# Special, though Python counts them as global: IETF protocol assignments (a cloud's
# metadata among them), and the address of Azure's host.
_SPECIAL = [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "168.63.129.16/32")]


@dataclass(frozen=True)
class FetchConfig:
    """How much a fetch may take, and where it may go.

    Attributes:
        timeout_s: from the first connection to the last byte of one try, redirects
            included; name resolution has the system's own limit.
        max_bytes: size of a file or response body.
        retries: further tries after a connection error, a 429 or a 5xx.
        user_agent: sent with every request; says who asks.
        allow_private: also connect to loopback, private and other special addresses.
    """

    timeout_s: float = 10.0
    max_bytes: int = 20 * 1024 * 1024
    retries: int = 3
    user_agent: str = "clipseed/0.1 (+https://github.com/clipseed)"
    allow_private: bool = False


class _Passing(Exception):
    """A failure that another try may not meet."""

    def __init__(self, reject: Reject, wait_s: float = 0.0) -> None:
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
        Reject: `unsupported_scheme`, `not_found`, `unreadable`, `too_large`; for URLs
            also `invalid_url`, `private_address`, `unreachable`, `timeout`,
            `too_many_redirects` and `http_<status>`. Timeouts are not tried again: a
            slow host costs `timeout_s` once.
    """
    if not uri.lower().startswith(("http://", "https://")):
        return read_bytes(uri, config.max_bytes)
    permitted = (lambda _: True) if config.allow_private else is_public
    for attempt in range(config.retries + 1):
        try:
            return fetch_once(uri, config, permitted)
        except _Passing as failure:
            if attempt == config.retries:
                raise failure.reject from failure
            # Jitter spreads the workers that one host turned away together.
            backoff_s = _FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1)
            sleep(min(max(backoff_s, failure.wait_s), _MAX_WAIT_S))
    raise AssertionError("the last attempt returns or raises")


def is_public(address: str) -> bool:
    """Whether an IP address is an ordinary one of the internet.

    False for loopback, private, link-local (cloud metadata), shared, multicast and
    reserved ranges (IANA special-purpose registries), and for IPv6 addresses that
    carry such an IPv4 address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        carried = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            carried = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if carried is not None:
            return is_public(str(carried))
        if ip.is_site_local:
            return False
    if any(ip in net for net in _SPECIAL):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)


def fetch_once(
    url: str, config: FetchConfig, permitted: Callable[[str], bool]
) -> bytes:
    """One try: follows redirects, judging the address of each hop.

    Args:
        url: `http://` or `https://`.
        config: the bounds; `allow_private` is not looked at.
        permitted: whether an IP address may be connected to.

    Raises:
        Reject: as `fetch`.
        _Passing: around a `Reject` that another try may not meet.
    """
    end_s = time.monotonic() + config.timeout_s
    target = _parse(url)
    for _ in range(_MAX_REDIRECTS + 1):
        with _rejecting(url), _connect(target, end_s, permitted) as sock:
            response = _request(target, _DeadlineSocket(sock, end_s), config)
            location = response.getheader("Location")
            if response.status not in _REDIRECTS or location is None:
                _check_status(url, response)
                return _read_body(url, response, config.max_bytes)
        # http.client reads headers as Latin-1; servers write UTF-8.
        target = _parse(location.encode("latin-1").decode(errors="replace"), target.url)
    raise Reject("too_many_redirects", f"{url}: give the address it leads to")


class _Target(NamedTuple):
    """A URL taken apart; `path` is percent-encoded and holds the query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


def _parse(reference: str, base: str = "") -> _Target:
    try:
        url = urljoin(base, reference)
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?[]|")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:  # UnicodeError, of idna and quote, is one
        raise Reject("invalid_url", f"{reference}: {error}; correct the URL") from error
    if parts.scheme not in ("http", "https"):
        raise Reject("unsupported_scheme", f"{url}: give an http(s) URL")
    if not host:
        raise Reject("invalid_url", f"{url} names no host; correct the URL")
    return _Target(url, parts.scheme, host, port, f"{path}?{query}" if query else path)


def _resolve(target: _Target, permitted: Callable[[str], bool]) -> list[str]:
    """The host's addresses, all of them permitted."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        raise Reject("unreachable", f"{target.host}: {error.strerror}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not permitted(address):
            raise Reject(
                "private_address",
                f"{target.host} is {address}, not on the internet; if you trust every "
                "URL of the table, allow private addresses",
            )
    return addresses


def _connect(
    target: _Target, end_s: float, permitted: Callable[[str], bool]
) -> socket.socket:
    """Connects to the first address that answers; TLS is judged by the host's name."""
    addresses = _resolve(target, permitted)
    for index, address in enumerate(addresses):
        share_s = _left(end_s) / (len(addresses) - index)  # a dead IPv6 leaves time
        try:
            sock = socket.create_connection((address, target.port), share_s)
            break
        except OSError:
            if index == len(addresses) - 1:
                raise
    if target.scheme == "http":
        return sock
    try:
        sock.settimeout(_left(end_s))
        return _tls().wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _DeadlineSocket(io.RawIOBase):
    """As much of a socket as http.client uses, under one deadline for all of it.

    A socket's own timeout starts anew with every byte, so a server that drips could
    hold it for ever.
    """

    def __init__(self, sock: socket.socket, end_s: float) -> None:
        self._sock, self._end_s = sock, end_s

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._end_s))
        return self._sock.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(_left(self._end_s))
        self._sock.sendall(data)

    def close(self) -> None:
        """Nothing: http.client closes early, and the socket has an owner."""


def _left(end_s: float) -> float:
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _request(
    target: _Target, sock: _DeadlineSocket, config: FetchConfig
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
    reject = Reject(f"http_{status}", f"{url}: {status} {response.reason}")
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


def _read_body(url: str, response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """Reads to the end, whatever length was declared."""
    too_large = Reject("too_large", f"{url} has more than {max_bytes} bytes")
    if (response.length or 0) > max_bytes:
        raise too_large
    body = bytearray()
    while piece := response.read(_PIECE_BYTES):
        body += piece
        if len(body) > max_bytes:
            raise too_large
    if response.length:  # what of the declared length never came
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)


@contextlib.contextmanager
def _rejecting(url: str) -> Iterator[None]:
    """Turns what the network may raise into a `Reject`, or a `_Passing` one."""
    try:
        yield
    except TimeoutError as error:
        raise Reject("timeout", f"{url}: not read in time") from error
    except ssl.SSLCertVerificationError as error:
        raise Reject("unreachable", f"{url}: {error.verify_message}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(Reject("unreachable", f"{url}: {error!r}")) from error
