"""Run a child process and measure CPU, elapsed time and peak memory of its tree."""

import contextlib
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[1]
_SAMPLE_EVERY_S = 0.1


class Memory(NamedTuple):
    """Peaks of proportional set sizes (pages shared by n processes count 1/n each).

    Attributes:
        tree_bytes: of the process and all its descendants together.
        parent_bytes: of the process.
        children_bytes: of all its descendants together.
    """

    tree_bytes: int
    parent_bytes: int
    children_bytes: int


class Cost(NamedTuple):
    """The cost of one run.

    Attributes:
        cpu_s: user and system time of the process and its descendants, with start-up.
        elapsed_s: wall-clock time.
        memory: None when not asked for; watching costs a little CPU.
        stdout: the output of the process.
    """

    cpu_s: float
    elapsed_s: float
    memory: Memory | None
    stdout: str


def run(
    command: Sequence[str], cores: int | None = None, watch_memory: bool = False
) -> Cost:
    """Run a command until it exits.

    Args:
        command: program and arguments; it can import the repository's modules.
        cores: number of this process's cores that it may use; None for all.
        watch_memory: whether to sample its memory.

    Raises:
        SystemExit: the command failed; the message has the end of its output.
    """
    before_s, start_s = _children_cpu_s(), time.perf_counter()
    with _limited_to(cores):
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    with _watching(process.pid, watch_memory) as peaks:
        stdout, stderr = process.communicate()
    elapsed_s = time.perf_counter() - start_s
    if process.returncode:
        tail = "\n".join((stdout + stderr).splitlines()[-20:])
        raise SystemExit(f"{' '.join(command)} failed:\n{tail}")
    memory = Memory(*peaks) if watch_memory else None
    return Cost(_children_cpu_s() - before_s, elapsed_s, memory, stdout)


def run_python(*arguments: str, cores: int | None = None, watch: bool = False) -> Cost:
    """Run this interpreter with arguments."""
    return run([sys.executable, *arguments], cores, watch)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _limited_to(cores: int | None) -> Iterator[None]:
    """Limit processes that are started in the block to a number of cores."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)


@contextlib.contextmanager
def _watching(pid: int, really: bool) -> Iterator[list[int]]:
    """Update the peaks of tree, parent and children during the block."""
    peaks, done = [0, 0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_EVERY_S):
            sizes = {member.pid: pss_bytes(member) for member in tree(pid)}
            total, parent = sum(sizes.values()), sizes.get(pid, 0)
            now = (total, parent, total - parent)
            peaks[:] = map(max, peaks, now)

    thread = threading.Thread(target=watch)
    if really:
        thread.start()
    try:
        yield peaks
    finally:
        done.set()
        if really:
            thread.join()


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all that it started, directly or not."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def pss_bytes(process: psutil.Process) -> int:
    """Return the proportional set size of a process; 0 when it has ended."""
    try:
        return process.memory_full_info().pss
    except psutil.Error:
        return 0
