"""How tests compile, in what order they begin, and servers that suites talk to."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.longest import order
from tests.support.quick_compiler import QUICK_COMPILER
from tests.support.web_server import Server

# Before anything imports JAX; processes that a test starts inherit it.
os.environ.setdefault("XLA_FLAGS", QUICK_COMPILER)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: order(item.nodeid))


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


@pytest.fixture(params=["local", "gs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty place to write to, in each backend."""
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
