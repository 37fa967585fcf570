"""A Flink cluster on this machine: one JobManager, two TaskManagers, Python workers.

    python -m engines.flink_cluster start    # prints the flags for `clipseed mine`
    clipseed mine ... $(python -m engines.flink_cluster flags)
    python -m engines.flink_cluster status
    python -m engines.flink_cluster stop

JobManager, TaskManagers, Beam's job server and the pool of Python workers are processes
of their own. Pid files, logs and scratch are in `.cache/flink_cluster`. All listen on
loopback only.

Memory limits: JobManager 0.9 GiB, each TaskManager 1.25 GiB, job server 0.9 GiB, and
WORKER_MIB for each Python worker (one per TaskManager) and each decoder that it starts
(one per slot in use).
"""

import argparse
import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engines import flink_jars
from engines.daemons import Daemons, free_ports, listens, wait_until

FOLDER = flink_jars.CACHE.with_name("flink_cluster")
TASK_MANAGERS = 2
# Twice what a job uses, so that one TaskManager can take over from the other.
SLOTS = 2
WORKER_MIB = 4096
_START_S = 180.0
# How long an idle Python worker is kept, to survive the gap between two stages.
# A retry that starts sooner after the loss of a worker would be assigned the lost one.
_WORKER_STAYS_MS = 3000
_PACKAGE = "org.apache.flink.runtime"
_JOB_MANAGER = f"{_PACKAGE}.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = f"{_PACKAGE}.taskexecutor.TaskManagerRunner"
_HEAP = ["-Xmx640m", "-XX:MaxMetaspaceSize=256m"]
_TASK_HEAP = ["-Xmx512m", "-XX:MaxDirectMemorySize=384m", "-XX:MaxMetaspaceSize=256m"]
# Without Flink's start scripts, a TaskManager requires every memory setting.
_TASK_MEMORY = {
    "taskmanager.cpu.cores": "2",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.task.off-heap.size": "128m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "128m",
    "taskmanager.memory.jvm-overhead.max": "128m",
}


class Ports(NamedTuple):
    """The ports that the parts of a cluster listen on."""

    rpc: int
    rest: int
    jobs: int
    workers: int


def flags(ports: Ports) -> list[str]:
    """Return the flags for `clipseed mine`."""
    return [
        "--runner=FlinkRunner",
        f"--job_endpoint=localhost:{ports.jobs}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{ports.workers}",
        f"--environment_cache_millis={_WORKER_STAYS_MS}",
        f"--parallelism={TASK_MANAGERS}",
    ]


def configuration(ports: Ports, folder: Path) -> str:
    """Return Flink's `config.yaml`; failed parts of a job are retried four times."""
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": ports.rpc,
        "jobmanager.bind-host": "localhost",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": ports.rest,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        "taskmanager.numberOfTaskSlots": SLOTS,
        "taskmanager.load-balance.mode": "SLOTS",
        # A job has many small shuffles; 512 buffers for each would not fit.
        "taskmanager.network.sort-shuffle.min-buffers": 64,
        # Beam's classes are on each process's own path. If each attempt loaded them
        # again they would fill the metaspace, and a late callback into a closed loader
        # would end a TaskManager (both observed).
        "classloader.resolve-order": "parent-first",
        "io.tmp.dirs": folder / "tmp",
        "blob.storage.directory": folder / "tmp",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 4,
        "restart-strategy.fixed-delay.delay": f"{2 * _WORKER_STAYS_MS} ms",
        # On a busy machine an answer can take longer than the default of ten seconds.
        "pekko.ask.timeout": "60 s",
        "pekko.startup-timeout": "60 s",
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 20000,
    }
    return "".join(f"{name}: {value}\n" for name, value in settings.items())


def commands(ports: Ports, folder: Path, worker_mib: int) -> dict[str, list[str]]:
    """Return the command of each process of the cluster, by name."""
    cache = flink_jars.CACHE
    opens = [f"--add-opens={package}=ALL-UNNAMED" for package in flink_jars.OPENED]
    java = ["java", "-Dlog4j2.level=INFO", *opens]
    classes = ["-cp", f"{cache}/flink/*:{cache}/job_server/*"]
    config = ["--configDir", str(folder)]
    memory = [f"-D{name}={value}" for name, value in _TASK_MEMORY.items()]
    task_manager = [*java, *_TASK_HEAP, *classes, _TASK_MANAGER, *config, *memory]
    return {
        "job_manager": [*java, *_HEAP, *classes, _JOB_MANAGER, *config],
        **{f"task_manager_{number}": task_manager for number in range(TASK_MANAGERS)},
        "job_server": [
            *("java", *_HEAP, "-jar", f"{cache}/job-server.jar"),
            f"--flink-master=localhost:{ports.rest}",
            f"--job-port={ports.jobs}",
            "--artifact-port=0",
            "--expansion-port=-1",
            f"--artifacts-dir={folder}/tmp",
        ],
        "worker_pool": [
            *(sys.executable, "-m", "engines.worker_pool"),
            *(str(ports.workers), str(worker_mib)),
        ],
    }


def start(folder: Path = FOLDER, worker_mib: int = WORKER_MIB) -> list[str]:
    """Start a cluster, wait until it is complete, and return its flags.

    Args:
        folder: for pid files, logs and scratch; its content is deleted.
        worker_mib: memory limit of a Python worker, and of a decoder.

    Raises:
        MissingEngine: the cluster did not start; its processes are stopped.
    """
    daemons = Daemons(folder)
    if daemons.running():
        raise flink_jars.MissingEngine(
            f"a cluster is already running in {folder}; stop it first"
        )
    flink_jars.fetch()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)
    ports = Ports(*free_ports(len(Ports._fields)))
    (folder / "config.yaml").write_text(configuration(ports, folder))
    (folder / "flags").write_text("\n".join(flags(ports)) + "\n")
    checkout = str(Path(__file__).resolve().parents[1])
    given = os.environ.get("PYTHONPATH")
    python_path = os.pathsep.join([checkout, given] if given else [checkout])
    try:
        for name, command in commands(ports, folder, worker_mib).items():
            daemons.start(name, command, {"PYTHONPATH": python_path})
        _wait(daemons, ports)
    except BaseException:
        stop(folder)
        raise
    return flags(ports)


def stop(folder: Path = FOLDER) -> None:
    """Stop the cluster and delete its scratch folder; keep the logs."""
    Daemons(folder).stop()
    shutil.rmtree(folder / "tmp", ignore_errors=True)


def _wait(daemons: Daemons, ports: Ports) -> None:
    names = set(daemons.running())

    def whole() -> bool:
        jobs_and_workers = listens(ports.jobs) and listens(ports.workers)
        return jobs_and_workers and task_managers(ports) == TASK_MANAGERS

    if not wait_until(whole, _START_S, lambda: set(daemons.running()) == names):
        logs = "\n".join(f"== {name}\n{daemons.tail(name)}" for name in sorted(names))
        raise flink_jars.MissingEngine(f"the cluster did not start:\n{logs}")


def task_managers(ports: Ports) -> int:
    """Return how many TaskManagers are registered; 0 without an answer."""
    try:
        url = f"http://localhost:{ports.rest}/overview"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(json.load(answer)["taskmanagers"])
    except OSError:
        return 0


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m engines.flink_cluster")
    parser.add_argument("command", choices=["start", "flags", "status", "stop"])
    parser.add_argument("--worker_mib", type=int, default=WORKER_MIB,
        help="memory limit of a Python worker, in MiB (default: %(default)s)"
    )  # fmt: skip
    parsed = parser.parse_args(argv)
    daemons = Daemons(FOLDER)
    try:
        if parsed.command == "start":
            start(worker_mib=parsed.worker_mib)
        if parsed.command == "stop":
            stop()
        elif not daemons.running():
            raise flink_jars.MissingEngine("no cluster is running; `start` one")
        elif parsed.command == "status":
            for name, pid in daemons.running().items():
                print(f"{name:>16}  {pid:>7}  {daemons.log(name)}")
        else:
            print((FOLDER / "flags").read_text(), end="")
    except flink_jars.MissingEngine as error:
        print(f"flink_cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
