"""Connections to untrusted hosts: which addresses are allowed, and for how long.

    target = parse_url("https://host/cat.jpg")
    with connect(target, Deadline(10, 10), is_public) as sock:
        ...

The tables' URLs are untrusted, so a request must not reach the worker's own network
(server-side request forgery, SSRF). Each rule is for one way around that:

- A host name is resolved once, all its addresses are checked, and the connection is
  made to a checked address rather than to the name, because a name may resolve to
  another address a moment later (DNS rebinding).
- IPv6 addresses that carry an IPv4 address are judged by the IPv4 address.
- The caller repeats this for every redirect.
- The environment's proxy variables are ignored: a proxy would resolve the name itself.
- A deadline covers the whole exchange, because a socket's own timeout restarts with
  every byte that a slow server sends.

requests, httpx and urllib3 resolve and connect in one call and check none of this.
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
# Not public, though Python counts them as global: IETF protocol assignments (among them
# a cloud's metadata server), and the address of Azure's host.
_SPECIAL = [ipaddress.ip_network(net) for net in ("192.0.0.0/24", "168.63.129.16/32")]


def is_public(address: str) -> bool:
    """Return whether an IP address is an ordinary address of the internet.

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
    """The parts of a URL; `path` is percent-encoded and includes the query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str


def parse_url(reference: str, base: str = "") -> Target:
    """Split a URL, or a reference relative to `base`, into its parts.

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
        raise InputError(
            "unsupported_scheme",
            f"{url}: {parts.scheme!r} is not supported here; use an http(s) URL",
        )
    if not host:
        raise InputError("invalid_url", f"{url} has no host; correct the URL")
    return Target(url, parts.scheme, host, port, f"{path}?{query}" if query else path)


class Deadline:
    """The time left: limited since the last progress, and in total.

    Attributes:
        patience_s: longest time without progress.
        total_s: longest time in total, from the creation of this object.
    """

    def __init__(self, patience_s: float, total_s: float) -> None:
        self.patience_s, self.total_s = patience_s, total_s
        self._start_s = self._progress_s = time.monotonic()

    def renew(self) -> None:
        """Restart the wait for progress."""
        self._progress_s = time.monotonic()

    def left_s(self) -> float:
        """Return the seconds left, more than 0.

        Raises:
            TimeoutError: no time is left.
        """
        end_s = min(self._progress_s + self.patience_s, self._start_s + self.total_s)
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def connect(
    target: Target, deadline: Deadline, permitted: Callable[[str], bool]
) -> socket.socket:
    """Connect to the first address that answers; TLS verifies the host's name.

    Args:
        target: the URL to request.
        deadline: of the connection and the TLS handshake.
        permitted: whether an IP address may be connected to.

    Raises:
        InputError: `private_address` for an address that is not permitted;
            `unreachable` for a host without an address.
        OSError: the connection or the TLS handshake fails.
    """
    addresses = _resolve(target, permitted)
    for index, address in enumerate(addresses):
        # An equal share, so that a dead IPv6 address leaves time for the next one.
        share_s = deadline.left_s() / (len(addresses) - index)
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
    """Return the host's addresses, all of them permitted."""
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
                f"{target.host} resolves to {address}, which is not a public address; "
                "if you trust every URL of the table, allow private addresses",
            )
    return addresses


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class DeadlineSocket(io.RawIOBase):
    """The part of a socket's interface that http.client uses, under one deadline.

    A socket's own timeout restarts with every byte, so a server that sends a byte now
    and then could hold a worker forever.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a buffered reader; `mode` is always "rb"."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for bytes, and count them as progress."""
        self._sock.settimeout(self._deadline.left_s())
        count = self._sock.recv_into(buffer)
        self._deadline.renew()
        return count

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        self._sock.settimeout(self._deadline.left_s())
        self._sock.sendall(data)

    def close(self) -> None:
        """Do nothing: http.client closes early, and the socket has an owner."""
