"""Indexes of made vectors, servers over them, and a plain client."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np

from index_service.build.build_index import IndexConfig, build_index
from index_service.serve.server import IndexServer, ServerConfig
from index_service.wire import search_pb2 as wire
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


@contextmanager
def stub(port: int) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield IndexServiceStub(channel)


def request(rows: np.ndarray, k: int = 5, **changes: Any) -> Any:
    fields = {
        "queries": rows.astype("<f4").tobytes(),
        "dimension": DIMENSION,
        "embedder_id": EMBEDDER,
        "k": k,
    }
    return wire.SearchRequest(**{**fields, **changes})
