"""A model hub on this machine: its file layout, headers and redirects.

    with fake_hub({"me/tiny": {"config.json": b"{}"}}) as hub:
        hub.environment(cache)  # for a process that downloads from it

Small files have Git's hash as their ETag; those of `LARGE` are kept elsewhere and come
by a redirect, with their SHA-256.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = ".safetensors"


class FakeHub:
    """What the hub holds, and what was asked of it.

    Attributes:
        models: the files of each model, by id and name.
        served: bytes that are sent in place of a file's own, by name.
        downloads: the files whose bytes were sent, in order.
    """

    def __init__(self, models: dict[str, dict[str, bytes]]) -> None:
        self.models = models
        self.served: dict[str, bytes] = {}
        self.downloads: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def environment(self, cache: Path, **more: str) -> dict[str, str]:
        """Return the environment of a process that knows no other hub."""
        return {
            **os.environ,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            **more,
        }

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = handler.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._describe(handler, "/".join(parts[2:4]), parts[4:])
        elif parts[0] == "elsewhere":
            model, name = "/".join(parts[1:3]), parts[3]
            self._send_file(handler, name, self.models[model][name])
        elif len(parts) == 5 and parts[2] == "resolve":
            self._resolve(handler, "/".join(parts[:2]), parts[4])
        else:
            _send(handler, 404, b"")

    def _describe(
        self, handler: BaseHTTPRequestHandler, model: str, what: list[str]
    ) -> None:
        files = self.models.get(model)
        if files is None or what[-1] not in ("main", COMMIT):
            missing = "RepoNotFound" if files is None else "RevisionNotFound"
            _send(handler, 404, b"{}", X_Error_Code=missing)
            return
        if what[0] == "tree":
            found: object = [_entry(name, data) for name, data in files.items()]
        else:
            siblings = [{"rfilename": name} for name in files]
            found = {"id": model, "sha": COMMIT, "siblings": siblings}
        body = json.dumps(found).encode()
        _send(handler, 200, body, Content_Type="application/json")

    def _resolve(self, handler: BaseHTTPRequestHandler, model: str, name: str) -> None:
        data = self.models[model][name]
        known = {"X_Repo_Commit": COMMIT, "ETag": f'"{_etag(name, data)}"'}
        if not name.endswith(LARGE):
            self._send_file(handler, name, data, **known)
            return
        linked = {"X_Linked_Etag": known["ETag"], "X_Linked_Size": str(len(data))}
        # Under another name of this host: redirects on one host are renamed models.
        place = f"{self.url.replace('127.0.0.1', 'localhost')}/elsewhere/{model}/{name}"
        _send(handler, 302, b"", Location=place, **known, **linked)

    def _send_file(
        self, handler: BaseHTTPRequestHandler, name: str, data: bytes, **headers: str
    ) -> None:
        if handler.command == "GET":
            self.downloads.append(name)
        _send(handler, 200, self.served.get(name, data), **headers)


def _send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str
) -> None:
    handler.send_response(status)
    for name, value in ({"Content_Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(body)


def _etag(name: str, data: bytes) -> str:
    if name.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _entry(name: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(data)}
    entry["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    if name.endswith(LARGE):
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
    return entry


@contextlib.contextmanager
def fake_hub(models: dict[str, dict[str, bytes]]) -> Iterator[FakeHub]:
    """Serve models on a port of this machine."""
    hub = FakeHub(models)
    thread = threading.Thread(target=hub.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
