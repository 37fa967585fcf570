"""Indexes of made vectors, servers over them, and a plain client."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import grpc
import numpy as np

from index_service.build.build_index import IndexConfig, build_index
from index_service.search.matches import Matches
from index_service.serve.server import IndexServer, ServerConfig
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import merge_parts
from index_service.wire.search_pb2_grpc import IndexServiceStub

EMBEDDER = "made@1"
DIMENSION = 16


def unit_rows(count: int, seed: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal((count, dimension))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def make_index(
    directory: Path, vectors: np.ndarray, name: str = "seed", embedder: str = EMBEDDER
) -> Path:
    ids = [f"{name}-{i:05d}" for i in range(len(vectors))]
    build_index(directory, ids, vectors, embedder, 0.5, None, IndexConfig())
    return directory


@contextmanager
def serving(directory: Path, **settings: Any) -> Iterator[IndexServer]:
    server = IndexServer(ServerConfig(str(directory), drain_s=1, **settings))
    try:
        yield server
    finally:
        server.stop()


class Held:
    """A search that waits until it is let go, and notes the size of each batch."""

    def __init__(self, search: Callable[..., Matches]) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.sizes: list[int] = []
        self._search = search

    def __call__(self, queries: np.ndarray, *arguments: Any) -> Matches:
        self.sizes.append(len(queries))
        self.entered.set()
        assert self.go.wait(10)
        return self._search(queries, *arguments)


@contextmanager
def held_search(server: IndexServer) -> Iterator[Held]:
    """Hold up the searches of a server in this process."""
    searcher: Any = server.service._versions.current
    searcher.search = held = Held(searcher.search)
    try:
        yield held
    finally:
        held.go.set()
        del searcher.search


class Process(NamedTuple):
    """A server process."""

    process: subprocess.Popen[str]
    address: str


@contextmanager
def server_process(directory: Path, *flags: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "beam_pipeline.cli", "index", "serve"]
    process = subprocess.Popen(
        [*command, str(directory), "--port=0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on "), line
        yield Process(process, line.split()[-1])
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def connection(port: int) -> grpc.Channel:
    """Return a connection of its own, where gRPC would share one per process."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", own)


class Pending:
    """A search whose answer is awaited elsewhere."""

    def __init__(self, call: Any, waiter: Executor) -> None:
        self.cancel = call.cancel
        self.result = waiter.submit(merge_parts, call).result


class Search:
    """The method `Search`; its answer is whole."""

    def __init__(self, channel: grpc.Channel, waiter: Executor) -> None:
        self._call, self._waiter = IndexServiceStub(channel).Search, waiter

    def __call__(self, message: Any, **call: Any) -> Any:
        return merge_parts(self._call(message, **call))

    def future(self, message: Any, **call: Any) -> Pending:
        return Pending(self._call(message, **call), self._waiter)


@contextmanager
def stub(port: int) -> Iterator[Any]:
    with connection(port) as channel, ThreadPoolExecutor() as waiter:
        plain = IndexServiceStub(channel)
        yield SimpleNamespace(
            Search=Search(channel, waiter), Stats=plain.Stats, Reload=plain.Reload
        )


def request(rows: np.ndarray, k: int = 5, **changes: Any) -> Any:
    fields = {
        "queries": rows.astype("<f4").tobytes(),
        "dimension": DIMENSION,
        "embedder_id": EMBEDDER,
        "k": k,
    }
    return wire.SearchRequest(**{**fields, **changes})
