"""Background processes that outlive the command that started them.

States of a process: running (its pid file names it); gone; or orphaned, when it was
killed and its children still run.

Each rule prevents one failure:

- A process leads a process group, so that its children can be stopped with it, also
  when it was killed and they were orphaned.
- The pid file holds the start time beside the pid, because after a reboot or many forks
  the pid may be another process's.
- Start times are relative to boot, because the wall clock may be set meanwhile.
- Zombies count as gone: a container's first process may never reap them.
- Processes that ignore SIGTERM are killed after `patience_s`.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_POLL_S = 0.1


@dataclass(frozen=True)
class Daemons:
    """The processes of a folder: `pids/NAME` and `logs/NAME.log` for each.

    Attributes:
        folder: the folder of their files.
        patience_s: time that a process has to end after SIGTERM.
    """

    folder: Path
    patience_s: float = 5.0

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Start a process in the background; return its pid."""
        (self.folder / "pids").mkdir(parents=True, exist_ok=True)
        self.log(name).parent.mkdir(exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._file(name).write_text(f"{process.pid} {_start_time(process.pid)}")
        return process.pid

    def log(self, name: str) -> Path:
        """Return the file with the output of a process."""
        return self.folder / "logs" / f"{name}.log"

    def running(self) -> dict[str, int]:
        """Return name and pid of the processes that run."""
        found = {}
        for file in sorted((self.folder / "pids").glob("*")):
            pid, _, start_time = file.read_text().partition(" ")
            if _start_time(int(pid)) == start_time:
                found[file.name] = int(pid)
        return found

    def stop(self) -> None:
        """Stop all processes and their children; kill those that ignore SIGTERM."""
        groups = {*self.running().values(), *self._orphaned()}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, number)
            deadline = time.monotonic() + self.patience_s
            while any(_members(groups)) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        for file in (self.folder / "pids").glob("*"):
            file.unlink()

    def tail(self, name: str, lines: int = 12) -> str:
        """Return the last lines of a log."""
        if not self.log(name).exists():
            return ""
        text = self.log(name).read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _orphaned(self) -> set[int]:
        """Return the groups whose leader is gone while its children still run."""
        pids = {int(f.read_text().split()[0]) for f in (self.folder / "pids").glob("*")}
        # The kernel does not reuse a pid while a group of that number has members.
        return {pid for pid in pids if not _start_time(pid) and any(_members({pid}))}

    def _file(self, name: str) -> Path:
        return self.folder / "pids" / name


def wait_until(
    ready: Callable[[], bool], timeout_s: float, alive: Callable[[], bool]
) -> bool:
    """Wait until `ready()`; return False on timeout or as soon as not `alive()`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and alive():
        if ready():
            return True
        time.sleep(_POLL_S)
    return False


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def listens(port: int) -> bool:
    """Return whether a process listens on a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _start_time(pid: int) -> str:
    """Return when a process started, in seconds since boot; "" if it is gone."""
    try:
        boot_s = psutil.boot_time()
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{process.create_time() - boot_s:.2f}"
    except psutil.NoSuchProcess:
        return ""


def _members(groups: Collection[int]) -> Iterator[psutil.Process]:
    """Yield the processes of some groups, without zombies."""
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError):
            in_group = os.getpgid(process.pid) in groups
            if in_group and process.info["status"] != psutil.STATUS_ZOMBIE:
                yield process
