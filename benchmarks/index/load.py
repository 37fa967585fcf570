"""Offer a served index four times what it can do, for a minute.

python -m benchmarks.index.load [--seconds 60] [--factor 4] [--json FILE]

A server in a process of its own, over made clustered vectors, searched exactly. First
its capacity is measured by clients that ask again as soon as they have an answer; then
requests are sent at a multiple of that rate, whether or not answers come. Reported:
what was answered, what was refused and how quickly, the server's memory, and how soon
a request takes no longer than before.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc
import numpy as np

from index_service.build.build_index import IndexConfig, build_index
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import merge_parts
from index_service.wire.search_pb2_grpc import IndexServiceStub

_EMBEDDER, _DIMENSION, _SEEDS, _BATCH = "made@1", 128, 100_000, 64
_CLIENTS, _DEADLINE_S = 8, 5.0


def vectors(count: int, seed: int, clusters: int = 5_000) -> np.ndarray:
    """Clustered unit vectors: float32 [count, 128]."""
    centers = np.random.default_rng(0).standard_normal((clusters, _DIMENSION))
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(0, len(centers), count)]
    rows = (rows + 0.5 * rng.standard_normal(rows.shape)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def request() -> Any:
    """Return the search that everybody sends: 64 queries, the best 10 of each."""
    queries = vectors(_BATCH, 1).astype("<f4").tobytes()
    return wire.SearchRequest(
        queries=queries, dimension=_DIMENSION, embedder_id=_EMBEDDER, k=10
    )


def capacity(address: str, seconds: float) -> float:
    """Return the requests per second that a few clients get answered in sequence."""
    done = Counter[int]()
    until = time.monotonic() + seconds

    def ask(number: int) -> None:
        with grpc.insecure_channel(address) as channel:
            stub, search = IndexServiceStub(channel), request()
            while time.monotonic() < until:
                merge_parts(stub.Search(search))
                done[number] += 1

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done.total() / seconds


async def offer(address: str, rate: float, seconds: float) -> list[tuple[str, float]]:
    """Send requests at a rate, answered or not; return each one's end and time."""
    ends: list[tuple[str, float]] = []
    search = request()

    async def ask(stub: Any) -> None:
        began = time.perf_counter()
        try:
            async for _ in stub.Search(search, timeout=_DEADLINE_S):
                pass
            end = "answered"
        except grpc.aio.AioRpcError as error:
            end = error.code().name
        ends.append((end, time.perf_counter() - began))

    async with grpc.aio.insecure_channel(address) as channel:
        stub, tasks, began = IndexServiceStub(channel), [], time.perf_counter()
        for number in range(round(rate * seconds)):
            wait_s = began + number / rate - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            tasks.append(asyncio.ensure_future(ask(stub)))
        await asyncio.gather(*tasks)
    return ends


def alone_s(address: str) -> float:
    """Return the median time of five requests when nobody else asks."""
    return median(_timed(address) for _ in range(5))


def _timed(address: str) -> float:
    with grpc.insecure_channel(address) as channel:
        stub, search = IndexServiceStub(channel), request()
        began = time.perf_counter()
        merge_parts(stub.Search(search))
        return time.perf_counter() - began


def recovery_s(address: str, usual_s: float) -> float:
    """Time until a request takes at most twice its usual time again."""
    began = time.perf_counter()
    while _timed(address) > 2 * usual_s:
        pass
    return time.perf_counter() - began


class Watch(threading.Thread):
    """Notes the resident memory of a process, in bytes, until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._stopped = threading.Event()
        self.samples: list[int] = []

    def run(self) -> None:
        """Sample four times per second."""
        while not self._stopped.wait(0.25):
            lines = self._status.read_text().splitlines()
            line = next(line for line in lines if line.startswith("VmRSS:"))
            self.samples.append(int(line.split()[1]) * 1024)

    def stop(self) -> list[int]:
        """Return the samples, in order."""
        self._stopped.set()
        self.join()
        return self.samples


def measure(address: str, pid: int, seconds: float, factor: float) -> dict[str, Any]:
    """Return all figures of one server."""
    usual_s = alone_s(address)
    able = capacity(address, 10)
    watch = Watch(pid)
    watch.start()
    ends = asyncio.run(offer(address, factor * able, seconds))
    samples = watch.stop()
    recovered_s = recovery_s(address, usual_s)
    counts = Counter(end for end, _ in ends)
    refused = [took for end, took in ends if end == "RESOURCE_EXHAUSTED"] or [0.0, 0.0]
    answered = [took for end, took in ends if end == "answered"]
    half = len(samples) // 2
    return {
        "alone_ms": 1000 * usual_s,
        "capacity_per_s": able,
        "offered_per_s": factor * able,
        "seconds": seconds,
        "ends": dict(counts),
        "answered_per_s": counts["answered"] / seconds,
        "answered_p50_ms": 1000 * median(answered),
        "answered_p99_ms": 1000 * quantiles(answered, n=100)[-1],
        "refused_p50_ms": 1000 * median(refused),
        "refused_p99_ms": 1000 * quantiles(refused, n=100)[-1],
        "memory_first_half_mb": max(samples[:half]) / 1e6,
        "memory_second_half_mb": max(samples[half:]) / 1e6,
        "recovery_s": recovered_s,
    }


def main() -> None:
    """Build, serve, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--factor", type=float, default=4)
    parser.add_argument("--json", type=Path)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "index"
        ids = [f"{i:06d}" for i in range(_SEEDS)]
        config = IndexConfig(exact_below=_SEEDS + 1)
        build_index(index, ids, vectors(_SEEDS, 0), _EMBEDDER, 0.6, None, config)
        command = [sys.executable, "-m", "beam_pipeline.cli", "index", "serve"]
        server = subprocess.Popen(
            [*command, str(index), "--port=0", "--max_requests=16"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        figures = measure(address, server.pid, flags.seconds, flags.factor)
        figures["alive"] = server.poll() is None
        server.terminate()
        figures["exit_status"] = server.wait(30)
    text = json.dumps(figures, indent=2)
    print(text)
    if flags.json:
        flags.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
