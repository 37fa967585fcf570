"""Processes that go on after the command that started them, and are found again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_S = 0.1


@dataclass(frozen=True)
class Daemons:
    """The processes of a folder: `pids/NAME` and `logs/NAME.log` for each.

    A process leads a group of its own, so that stopping it ends its children too. Its
    file holds when it began beside its id, so that another one which has the id now is
    left alone.

    Attributes:
        folder: where the files lie.
        patience_s: how long a process has to end when it is asked to.
    """

    folder: Path
    patience_s: float = 5.0

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Start a process in the background; gives its id."""
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
        self._file(name).write_text(f"{process.pid} {_began(process.pid)}")
        return process.pid

    def log(self, name: str) -> Path:
        """What a process prints."""
        return self.folder / "logs" / f"{name}.log"

    def running(self) -> dict[str, int]:
        """Name and ids of those that live."""
        found = {}
        for file in sorted((self.folder / "pids").glob("*")):
            pid, _, began = file.read_text().partition(" ")
            if _began(int(pid)) == began:
                found[file.name] = int(pid)
        return found

    def stop(self) -> None:
        """End all, their children too; those that do not heed are killed."""
        groups = {*self.running().values(), *self._orphaned()}
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in groups:
                _signal_group(group, number)
            deadline = time.monotonic() + self.patience_s
            while any(map(_group_lives, groups)) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        for file in (self.folder / "pids").glob("*"):
            file.unlink()

    def tail(self, name: str, lines: int = 12) -> str:
        """The last lines of a log."""
        if not self.log(name).exists():
            return ""
        text = self.log(name).read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _orphaned(self) -> set[int]:
        """Group whose leader is gone, killed perhaps, and whose children live."""
        pids = {int(f.read_text().split()[0]) for f in (self.folder / "pids").glob("*")}
        # An id is not given away while a group of that name has members.
        return {pid for pid in pids if not _began(pid) and _group_lives(pid)}

    def _file(self, name: str) -> Path:
        return self.folder / "pids" / name


def wait_until(
    ready: Callable[[], bool], timeout_s: float, alive: Callable[[], bool]
) -> bool:
    """Wait for something to become true; gives up early when nothing lives."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and alive():
        if ready():
            return True
        time.sleep(_POLL_S)
    return False


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens at."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def listens(port: int) -> bool:
    """Return whether somebody listens at a port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _began(pid: int) -> str:
    """When a process began, in ticks since boot (proc(5), stat, field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _group_lives(group: int) -> bool:
    """Return whether a group has a member that is no zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False
