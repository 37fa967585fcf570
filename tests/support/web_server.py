"""A real web server on this machine, well- or ill-behaved as a test wants it."""

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.answer(self)

    def log_message(self, *_: object) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    """Counts connections, records requests, answers as a test wants."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self.answer: Callable[[Handler], None] = ok
        self.url = f"http://{host}:{self.server_port}"

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()

    def handle_error(self, *_: object) -> None:
        """Silent: clients here hang up on purpose."""


def respond(
    status: int = 200, body: bytes = b"pixels", **headers: str
) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


ok = respond()


def in_turn(*answers: Callable[[Handler], None]) -> Callable[[Handler], None]:
    remaining = iter(answers)
    return lambda handler: next(remaining)(handler)


def raw(*pieces: bytes, pause_s: float = 0.0) -> Callable[[Handler], None]:
    """Send bytes as they are, pausing after each piece, then hang up."""

    def answer(handler: Handler) -> None:
        for piece in pieces:
            handler.wfile.write(piece)
            time.sleep(pause_s)

    return answer
