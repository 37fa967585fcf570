"""Servers that several suites talk to."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unruly_proxy import UnrulyProxy, by_name
from web_server import Server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """`gs://` root of an emulated bucket; the emulator runs in this process."""
    from gcp_storage_emulator.server import (  # type: ignore[import-untyped]
        create_server,
    )

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="seeds")
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        yield "gs://seeds"
    server.stop()


@pytest.fixture
def unruly(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., UnrulyProxy]]:
    """Puts a proxy that makes trouble between the bucket and us."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    monkeypatch.setattr(DEFAULT_RETRY, "_initial", 0.05)  # Seconds; 1 by itself.
    proxies: list[UnrulyProxy] = []

    def start(fate: Callable[[str], str] = by_name, **flags: bool) -> UnrulyProxy:
        proxy = UnrulyProxy(os.environ["STORAGE_EMULATOR_HOST"], fate, **flags)
        proxies.append(proxy)
        loop = {"poll_interval": 0.01}
        threading.Thread(target=proxy.serve_forever, kwargs=loop).start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        return proxy

    yield start
    for proxy in proxies:
        proxy.shutdown()
        proxy.server_close()


@pytest.fixture(params=["local", "gs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place to write to, in each backend."""
    if request.param == "local":
        return str(tmp_path)
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(host: str = "127.0.0.1") -> Server:
        servers.append(Server(host))
        loop = {"poll_interval": 0.01}
        threading.Thread(target=servers[-1].serve_forever, kwargs=loop).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()
