"""Measure what hostile clients of the index service cost the honest ones.

python -m benchmarks.index.hostile_clients [--seconds 60] [--kinds no_message ...]

A server in a process of its own with its default limits and a token, over 100,000 made
vectors searched exactly. Eight honest clients together ask for a quarter of what it can
do, each for 64 queries and the best ten. Per kind: a time undisturbed, the same time
beside twenty hostile clients, and after that how soon a search takes no longer than
before. Hostile clients run at the lowest priority: they have machines of their own.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.index.hostile_kinds import KINDS, bearer, connect, message
from benchmarks.index.load import Watch, vectors
from index_service.build.build_index import IndexConfig, build_index
from index_service.wire.search_pb2_grpc import IndexServiceStub

_SEEDS, _HONEST, _HOSTILE = 100_000, 8, 20
_TOKEN = "open-sesame"
_SHARE = 0.25
_CALIBRATE_S = 5.0


@dataclass(frozen=True)
class Figures:
    """What one kind of hostile clients costs.

    Attributes:
        kind: what they do.
        alone_p99_ms: of the honest searches, undisturbed.
        beside_p99_ms: beside the hostile clients.
        searches: honest ones beside them.
        failed: honest ones that got no answer at once.
        alone_mb: most memory of the server, undisturbed.
        beside_mb: most memory beside them.
        recovery_s: time until an honest search took at most the undisturbed p99.
    """

    kind: str
    alone_p99_ms: float
    beside_p99_ms: float
    searches: int
    failed: int
    alone_mb: float
    beside_mb: float
    recovery_s: float


class Honest:
    """Clients that search now and then, and note how long each search took."""

    def __init__(self, address: str) -> None:
        self._clients = [
            (IndexServiceStub(connect(address)), message(vectors(64, number), 10))
            for number in range(_HONEST)
        ]

    def run(self, seconds: float, pause_s: float) -> "Times":
        """Search for a time, each after pauses of random length."""
        done, times = threading.Event(), Times()

        def ask(number: int) -> None:
            rng, (stub, request) = random.Random(number), self._clients[number]
            while not done.wait(rng.expovariate(1 / pause_s) if pause_s else 0):
                began_s = time.perf_counter()
                times.failed += not search(stub, request)
                times.took_s.append(time.perf_counter() - began_s)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(_HONEST)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        done.set()
        for thread in threads:
            thread.join()
        return times


@dataclass
class Times:
    """How long searches took, and how many failed."""

    took_s: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def p99_ms(self) -> float:
        """99th percentile of the times."""
        return 1000 * float(np.percentile(self.took_s, 99))


def search(stub: IndexServiceStub, request: Any) -> bool:
    """Search; return whether there was an answer."""
    try:
        parts = list(stub.Search(request, timeout=30, metadata=bearer(_TOKEN)))
    except grpc.RpcError:
        return False
    return sum(len(part.counts) for part in parts) == 64


def measure(
    address: str, pid: int, honest: Honest, kind: str, seconds: float
) -> Figures:
    """Measure one kind."""
    busy = honest.run(_CALIBRATE_S, 0.0)
    pause_s = _HONEST * _CALIBRATE_S / len(busy.took_s) / _SHARE
    watch = _watch(pid)
    alone = honest.run(seconds, pause_s)
    alone_bytes = max(watch.stop())
    watch = _watch(pid)
    with hostile_clients(kind, address):
        beside = honest.run(seconds, pause_s)
    recovery = _recovery_s(address, alone.p99_ms / 1000)
    return Figures(
        kind,
        alone.p99_ms,
        beside.p99_ms,
        len(beside.took_s),
        beside.failed,
        alone_bytes / 1e6,
        max(watch.stop()) / 1e6,
        recovery,
    )


@contextmanager
def hostile_clients(kind: str, address: str) -> Iterator[None]:
    """Keep hostile clients at work, each in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.index.hostile_kinds"])
    ready, go = context.Semaphore(0), context.Event()
    arguments = (kind, address, ready, go)
    processes = [
        context.Process(target=attack, args=arguments, daemon=True)
        for _ in range(_HOSTILE)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    go.set()
    time.sleep(1)
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def attack(kind: str, address: str, ready: Any, go: Any) -> None:
    """Be one hostile client, until the process is ended."""
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ready.release()
    go.wait()
    KINDS[kind](address, _TOKEN)


def _watch(pid: int) -> Watch:
    watch = Watch(pid)
    watch.start()
    return watch


def _recovery_s(address: str, usual_s: float) -> float:
    """Time until a search takes no longer than before, that search left out."""
    began_s = time.perf_counter()
    request = message(vectors(64, 0), 10)
    with connect(address) as channel:
        stub = IndexServiceStub(channel)
        while True:
            asked_s = time.perf_counter()
            if search(stub, request) and time.perf_counter() - asked_s <= usual_s:
                return asked_s - began_s


def table(rows: list[Figures]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| hostile clients | p99 alone | beside | ratio | failed | memory | after |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.kind}` | {row.alone_p99_ms:.0f} ms | {row.beside_p99_ms:.0f} ms "
        f"| {row.beside_p99_ms / row.alone_p99_ms:.1f} "
        f"| {row.failed} of {row.searches} "
        f"| {row.alone_mb:.0f} to {row.beside_mb:.0f} MB | {row.recovery_s:.2f} s |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Build, serve, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--json", type=Path)
    flags = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        index, token = Path(scratch) / "index", Path(scratch) / "token"
        token.write_text(_TOKEN)
        ids = [f"{i:06d}" for i in range(_SEEDS)]
        config = IndexConfig(exact_below=_SEEDS + 1)
        build_index(index, ids, vectors(_SEEDS, 0), "made@1", 0.6, None, config)
        command = [sys.executable, "-m", "beam_pipeline.cli", "index", "serve"]
        server = subprocess.Popen(
            [*command, str(index), "--port=0", f"--token_file={token}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        honest = Honest(address)
        for kind in flags.kinds:
            rows.append(measure(address, server.pid, honest, kind, flags.seconds))
            print(json.dumps(asdict(rows[-1])), flush=True)
        server.terminate()
        server.wait(30)
    print(table(rows))
    if flags.json:
        flags.json.write_text(json.dumps([asdict(row) for row in rows], indent=2))


if __name__ == "__main__":
    main()
