"""What a child process costs: CPU, elapsed time, peak memory of its whole tree."""

import contextlib
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_SAMPLE_EVERY_S = 0.1


class Memory(NamedTuple):
    """Peaks of proportional set sizes (pages shared by n processes count 1/n each).

    Attributes:
        tree_bytes: of the process and all below it, together.
        parent_bytes: of the process.
        children_bytes: of all below it, together.
    """

    tree_bytes: int
    parent_bytes: int
    children_bytes: int


class Cost(NamedTuple):
    """What one run took.

    Attributes:
        cpu_s: user and system, of the process and all below it, start-up included.
        elapsed_s: by the clock.
        memory: None when not asked for; watching costs a little CPU.
        stdout: what it printed.
    """

    cpu_s: float
    elapsed_s: float
    memory: Memory | None
    stdout: str


def run(
    command: Sequence[str], cores: int | None = None, watch_memory: bool = False
) -> Cost:
    """Run a command to its end.

    Args:
        command: program and arguments; the repository's modules can be imported.
        cores: how many of this process's cores it may use; None for all.
        watch_memory: whether to sample its memory.

    Raises:
        SystemExit: it failed; its last lines are in the message.
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
    """Has what is started inside run on so many cores."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)


@contextlib.contextmanager
def _watching(pid: int, really: bool) -> Iterator[list[int]]:
    """Keep the peaks of tree, parent and children up to date while inside."""
    peaks, done = [0, 0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_EVERY_S):
            sizes = {member: pss_bytes(member) for member in tree(pid)}
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


def tree(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                # The name, in brackets, may hold anything: parent comes after it.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    kib = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(kib[1]) * 1024 if kib else 0
