"""Compare a served index with the same index in process, in batches of 256.

python -m benchmarks.index.service [--seeds 100000] [--seconds 10] [--json FILE]

Both search the same queries over made clustered vectors above the same threshold, with
one searching thread each; the turns alternate. The client sends the next batch while
the server works on the last, as the workers of a job do together.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np

from benchmarks.index.load import vectors
from index_service.build.build_index import IndexConfig, build_index
from index_service.search.searcher import Searcher, load_index
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import from_wire, merge_parts
from index_service.wire.search_pb2_grpc import IndexServiceStub

_EMBEDDER, _BATCH, _K, _THRESHOLD = "made@1", 256, 100, 0.6
_ROUNDS, _IN_FLIGHT, _SEEDS_A_CLUSTER = 3, 2, 20


def in_process(searcher: Searcher, queries: np.ndarray, seconds: float) -> float:
    """Return the queries per second without a server."""
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        searcher.search(queries, _K, _THRESHOLD)
        count += len(queries)
    return count / (time.perf_counter() - began)


def served(stub: Any, queries: np.ndarray, seconds: float) -> float:
    """Return the queries per second of a server, with answers decoded."""
    request = wire.SearchRequest(
        queries=queries.astype("<f4").tobytes(),
        dimension=queries.shape[1],
        embedder_id=_EMBEDDER,
        k=_K,
        threshold=_THRESHOLD,
    )

    def ask() -> int:
        return len(from_wire(merge_parts(stub.Search(request))).matches.counts)

    waiting: deque[Future[int]] = deque()
    began, count = time.perf_counter(), 0
    with ThreadPoolExecutor(_IN_FLIGHT) as clients:
        while time.perf_counter() - began < seconds:
            while len(waiting) < _IN_FLIGHT:
                waiting.append(clients.submit(ask))
            count += waiting.popleft().result()
        return count / (time.perf_counter() - began)


def measure(index: Path, seconds: float) -> dict[str, Any]:
    """Both, in turns; the medians."""
    searcher = load_index(index)
    clusters = len(searcher.ids) // _SEEDS_A_CLUSTER
    queries = vectors(_BATCH, 1, clusters)
    command = [sys.executable, "-m", "beam_pipeline.cli", "index", "serve"]
    server = subprocess.Popen(
        [*command, str(index), "--port=0", "--threads=1", "--audit_one_in=0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    address = server.stdout.readline().split()[-1]
    here, there = [], []
    with grpc.insecure_channel(address) as channel:
        stub = IndexServiceStub(channel)
        in_process(searcher, queries, 1), served(stub, queries, 1)
        for _ in range(_ROUNDS):
            here.append(in_process(searcher, queries, seconds))
            there.append(served(stub, queries, seconds))
    server.terminate()
    server.wait(30)
    return {
        "kind": searcher.manifest.kind,
        "in_process_per_s": median(here),
        "served_per_s": median(there),
        "ratio": median(there) / median(here),
    }


def main() -> None:
    """Build an exact and a ScaNN index, and compare each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--json", type=Path)
    flags = parser.parse_args()
    rows, ids = [], [f"{i:07d}" for i in range(flags.seeds)]
    with tempfile.TemporaryDirectory() as scratch:
        for exact_below in (flags.seeds + 1, 0):
            index = Path(scratch) / f"index-{exact_below}"
            config = IndexConfig(exact_below=exact_below)
            made = vectors(flags.seeds, 0, flags.seeds // _SEEDS_A_CLUSTER)
            build_index(index, ids, made, _EMBEDDER, _THRESHOLD, None, config)
            rows.append({"seeds": flags.seeds, **measure(index, flags.seconds)})
            print(json.dumps(rows[-1]))
    if flags.json:
        flags.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
