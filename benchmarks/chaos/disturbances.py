"""What befalls jobs besides kills. Each returns "equal", or what went wrong."""

import contextlib
import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest

from benchmarks.chaos.jobs import ChaosJob
from benchmarks.chaos.processes import Chaos
from clipseed.io import storage
from clipseed.io.listing import list_files
from index_service.wire import search_pb2 as wire
from tests.support.servers.index_server import (
    make_index,
    request,
    server_process,
    stub,
    unit_rows,
)

EQUAL = "equal"
# Each look at the clock is up to three days off, in either direction.
_JUMPS = """
import random, time
_time, _rng = time.time, random.Random(0)
time.time = lambda: _time() + _rng.uniform(-3, 3) * 86_400
"""


def full_disk(chaos: Chaos, job: ChaosJob, root: Path, whole: dict[str, str]) -> str:
    """Mine onto disks that are too small, make room, and resume."""
    for size in ("40k", "300k"):
        disk = root / f"disk_{size}"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if subprocess.run(mount, check=False).returncode:
            return "not run: no right to mount"
        try:
            ended = chaos.run(job.arguments(disk / "run"))
            lines = ended.stderr.strip().splitlines()
            if ended.status == 0 or len(lines) != 1:
                return f"{size}: status {ended.status}, {len(lines)} lines on stderr"
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            again = chaos.run(job.arguments(disk / "run"))
            if again.status or job.result(disk / "run") != whole:
                return f"{size}: status {again.status}, or other bytes"
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return EQUAL


def broken_bucket(chaos: Chaos, root: Path) -> str:
    """Mine from and to a bucket that answers badly, and to one that is well."""
    from gcp_storage_emulator.server import (  # type: ignore[import-untyped]
        create_server,
    )

    from tests.support.servers.unruly_proxy import unruly

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="chaos")
    server.start()
    port = server._api._httpd.server_port
    results = []
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
            corpus = root / "corpus"
            for path in sorted(p for p in corpus.rglob("*") if p.is_file()):
                name = path.relative_to(corpus).as_posix()
                storage.write_bytes(f"gs://chaos/corpus/{name}", path.read_bytes())
            results.append(_mine_in_bucket(chaos, "gs://chaos/well"))
            with unruly() as proxy:
                results.append(_mine_in_bucket(chaos, "gs://chaos/badly"))
            if not proxy.troubles["busy"]:
                return "it never answered badly"
    finally:
        server.stop()
    return EQUAL if results[0] == results[1] else "other bytes"


def _mine_in_bucket(chaos: Chaos, output: str) -> dict[str, bytes]:
    seeds, videos = "gs://chaos/corpus/seeds/good.csv", "gs://chaos/corpus/videos"
    ended = chaos.run(
        ["mine", f"--seeds={seeds}", f"--videos={videos}", f"--output={output}",
         "--num_shards=2", "--clip_s=1", "--clip_fps=5", "--as_of=2025-01-02"],
        environment={"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"]},
    )  # fmt: skip
    if ended.status:
        raise SystemExit(f"{output}: {ended.status}\n{ended.stderr}")
    kept = ("pairs.csv", "clips/", "rejected/", "videos/", "seeds/")
    names = {uri.removeprefix(f"{output}/"): uri for uri in list_files(output)}
    found = {n: u for n, u in names.items() if n.startswith(kept)}
    return {n: storage.read_bytes(u, 1 << 30) for n, u in found.items()}


def jumping_clock(
    chaos: Chaos, job: ChaosJob, root: Path, whole: dict[str, str]
) -> str:
    """Mine while the clock jumps by days."""
    output = root / "clock_run"
    ended = chaos.run(job.arguments(output), before=_JUMPS)
    if ended.status:
        return f"status {ended.status}: {ended.stderr[-300:]}"
    return EQUAL if job.result(output) == whole else "other bytes"


def two_at_once(chaos: Chaos, job: ChaosJob, root: Path, whole: dict[str, str]) -> str:
    """Start a job twice on one output: one mines, the other says so in a line."""
    output = root / "both_run"
    first = chaos.start(job.arguments(output))
    while not output.exists() and first.poll() is None:
        time.sleep(0.05)
    second = chaos.run(job.arguments(output))
    first.communicate()
    lines = len(second.stderr.strip().splitlines())
    if (first.returncode, second.status, lines) != (0, 2, 1):
        return f"statuses {first.returncode} and {second.status}, {lines} lines"
    return EQUAL if job.result(output) == whole else "other bytes"


def killed_reload(root: Path, kills: int, rng: random.Random) -> str:
    """Kill a server while it loads another index, and start it again."""
    queries = unit_rows(4, seed=9)
    for number in range(2):
        make_index(root / f"v{number}", unit_rows(400, seed=number), name=f"v{number}")

    def answers(address: str) -> bytes:
        with stub(_port(address)) as client:
            reply = client.Search(request(queries), timeout=60)
        return reply.SerializeToString()

    with server_process(root / "v0") as server:
        wanted = answers(server.address)
    for _ in range(kills):
        with server_process(root / "v0") as server:
            if answers(server.address) != wanted:
                return "other answers"
            reload = threading.Thread(
                target=_reload, args=(server.address, root / "v1")
            )
            reload.start()
            time.sleep(rng.uniform(0, 0.2))
            server.process.kill()
            reload.join()
    with server_process(root / "v0") as server:
        if answers(server.address) != wanted:
            return "other answers after the last kill"
    shutil.rmtree(root)
    return EQUAL


def _reload(address: str, directory: Path) -> None:
    message = wire.ReloadRequest(directory=str(directory))
    # Either it was quicker, or the server was killed.
    with contextlib.suppress(grpc.RpcError), stub(_port(address)) as client:
        client.Reload(message, timeout=60)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
