"""Connections to hosts that strangers name: where they may go, how long they may take.

    target = parse_url("https://host/cat.jpg")
    with connect(target, Deadline(10, 10), is_public) as sock:
        ...

A host name is resolved once, every address is judged, and the connection is made to an
address that was judged, not to the name (a name may resolve differently a moment
later). Proxy variables of the environment are not used: through a proxy the address
could not be judged.
"""

import functools
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from clipseed.errors import InputError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: carries an IPv4 address
# Special, though Python counts them as global: IETF protocol assignments (a cloud's
# metadata among them), and the address of Azure's host.
_SPECIAL = [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "168.63.129.16/32")]


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


class Target(NamedTuple):
    """A URL taken apart; `path` is percent-encoded and holds the query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


def parse_url(reference: str, base: str = "") -> Target:
    """Takes a URL apart, or a reference that a page at `base` makes.

    Raises:
        InputError: `invalid_url`; `unsupported_scheme` if it is not http(s).
    """
    try:
        url = urljoin(base, reference)
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?[]|")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:  # UnicodeError, of idna and quote, is one
        raise InputError(
            "invalid_url", f"{reference}: {error}; correct the URL"
        ) from error
    if parts.scheme not in ("http", "https"):
        raise InputError("unsupported_scheme", f"{url}: give an http(s) URL")
    if not host:
        raise InputError("invalid_url", f"{url} names no host; correct the URL")
    return Target(url, parts.scheme, host, port, f"{path}?{query}" if query else path)


class Deadline:
    """When to stop waiting: some time after the last progress, and at the latest.

    Attributes:
        patience_s: seconds without progress.
        total_s: seconds in all, from the making of this object.
    """

    def __init__(self, patience_s: float, total_s: float) -> None:
        self.patience_s, self.total_s = patience_s, total_s
        self._start_s = self._progress_s = time.monotonic()

    def renew(self) -> None:
        """Tells of progress."""
        self._progress_s = time.monotonic()

    def left_s(self) -> float:
        """Seconds left, more than 0; else raises `TimeoutError`."""
        end_s = min(self._progress_s + self.patience_s, self._start_s + self.total_s)
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def connect(
    target: Target, deadline: Deadline, permitted: Callable[[str], bool]
) -> socket.socket:
    """Connects to the first address that answers; TLS is judged by the host's name.

    Args:
        target: where to.
        deadline: of the connection and the TLS handshake.
        permitted: whether an IP address may be connected to.

    Raises:
        InputError: `private_address` for one that may not; `unreachable` for no
        address.
        OSError: what the system and the TLS library raise.
    """
    addresses = _resolve(target, permitted)
    for index, address in enumerate(addresses):
        share_s = deadline.left_s() / (
            len(addresses) - index
        )  # a dead IPv6 leaves time
        try:
            sock = socket.create_connection((address, target.port), share_s)
            break
        except OSError:
            if index == len(addresses) - 1:
                raise
    if target.scheme == "http":
        return sock
    try:
        sock.settimeout(deadline.left_s())
        return _tls().wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise


def _resolve(target: Target, permitted: Callable[[str], bool]) -> list[str]:
    """The host's addresses, all of them permitted."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise
        raise InputError("unreachable", f"{target.host}: {error.strerror}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not permitted(address):
            raise InputError(
                "private_address",
                f"{target.host} is {address}, not on the internet; if you trust every "
                "URL of the table, allow private addresses",
            )
    return addresses


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class DeadlineSocket(io.RawIOBase):
    """As much of a socket as http.client uses, under one deadline for all of it.

    A socket's own timeout starts anew with every byte, so a server that drips could
    hold it for ever.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """A buffered reader; `mode` is always "rb"."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Waits for bytes, which are progress."""
        self._sock.settimeout(self._deadline.left_s())
        count = self._sock.recv_into(buffer)
        self._deadline.renew()
        return count

    def sendall(self, data: bytes) -> None:
        """Sends the request."""
        self._sock.settimeout(self._deadline.left_s())
        self._sock.sendall(data)

    def close(self) -> None:
        """Nothing: http.client closes early, and the socket has an owner."""
