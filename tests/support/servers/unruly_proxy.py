"""A proxy in front of the bucket emulator that fails in a fixed pattern.

Each request is told by its method and its target. The first time that one is made, its
own name decides what befalls it, so that a run meets the same troubles whatever the
order in which its threads ask; made again, it is served.
"""

import contextlib
import hashlib
import http.client
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

_NOT_PASSED_ON = frozenset({"connection", "content-length", "transfer-encoding"})
# What may befall a request; `well` more often than the rest together.
TROUBLES = ("busy", "too_many", "cut", "lost", "well", "well", "well", "well", "well")


class UnrulyProxy(ThreadingHTTPServer):
    """Passes requests on to `target`, after the troubles that `fate` chooses.

    busy: 503. too_many: 429. cut: the answer ends in the middle of its body. lost: the
    request is carried out, and the connection closed without an answer.

    Attributes:
        troubles: how many of each kind were made.
        served: how many requests of each `(method, path)` were passed on.

    With `always`, no request gets out of its trouble.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, target: str, fate: Callable[[str], str], always: bool = False
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.fate, self.always = fate, always
        self.troubles: Counter[str] = Counter()
        self.served: Counter[tuple[str, str]] = Counter()
        self._met: set[str] = set()
        self._lock = threading.Lock()

    def trouble(self, name: str) -> str:
        """Return what befalls a request now; each is in trouble once."""
        with self._lock:
            if name in self._met and not self.always:
                return "well"
            self._met.add(name)
            trouble = self.fate(name)
            self.troubles[trouble] += 1
            return trouble

    def handle_error(self, *_: object) -> None:
        """Stay silent: clients may hang up."""


@contextlib.contextmanager
def unruly(
    fate: Callable[[str], str] | None = None, always: bool = False
) -> Iterator[UnrulyProxy]:
    """Put a proxy between the emulated bucket and us, for the length of a block."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    target = os.environ["STORAGE_EMULATOR_HOST"]
    proxy = UnrulyProxy(target, fate or by_name, always)
    loop = {"poll_interval": 0.01}
    threading.Thread(target=proxy.serve_forever, kwargs=loop).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        patch.setattr(DEFAULT_RETRY, "_initial", 0.05)  # Seconds; 1 by itself.
        try:
            yield proxy
        finally:
            proxy.shutdown()
            proxy.server_close()


def by_name(name: str) -> str:
    """Choose one of `TROUBLES`, by hash."""
    return TROUBLES[hashlib.sha256(name.encode()).digest()[0] % len(TROUBLES)]


class _Handler(BaseHTTPRequestHandler):
    server: UnrulyProxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path)
        # An upload's own number differs from run to run; what resumes after a cut
        # starts elsewhere and has the same end.
        query = path.query.partition("&upload_id=")[0]
        extent = self.headers.get("Content-Range") or self.headers.get("Range") or ""
        end = extent.rpartition("-")[2]
        trouble = self.server.trouble(f"{self.command} {path.path}?{query} {end}")
        if trouble in ("busy", "too_many"):
            self._answer(503 if trouble == "busy" else 429, [], b"{}", whole=True)
            return
        if self.command == "PUT" and trouble in ("cut", "lost"):
            # Unlike the real bucket, the emulator forgets a finished upload: the same
            # request once more would fail. So this one gets nowhere.
            self._hang_up()
            return
        self.server.served[self.command, path.path] += 1
        status, headers, data = self._ask(body)
        if trouble == "lost":
            self._hang_up()
        else:
            self._answer(status, headers, data, whole=trouble != "cut")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass_on

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.target)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if response.getheader("Content-Type") == "application/json":
            # Links to objects lead past us where they were written past us.
            there = f"http://{self.server.target}".encode()
            data = data.replace(there, self.server.url.encode())
        kept = [(k, v) for k, v in response.getheaders()
                if k.lower() not in _NOT_PASSED_ON]  # fmt: skip
        return response.status, kept, data

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, whole: bool
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if whole else data[: len(data) // 2])
        if not whole:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Silent."""
