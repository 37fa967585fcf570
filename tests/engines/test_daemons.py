"""Processes that outlive the command that started them, and always can be stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.daemons import Daemons, free_ports, listens, wait_until

# Prints its child's pid and never ends; both ignore SIGTERM.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
print(subprocess.Popen(child).pid, flush=True)
time.sleep(60)
"""


def started(folder: Path, script: str) -> tuple[Daemons, int, int]:
    """Start one process; return its daemons, its pid, and its child's."""
    daemons = Daemons(folder, patience_s=0.5)
    pid = daemons.start("one", [sys.executable, "-c", script], {"A": "b"})
    assert wait_until(lambda: "here" in daemons.tail("one"), 20, lambda: True)
    return daemons, pid, int(daemons.tail("one").split()[0])


def gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_what_runs_is_found_by_name_from_another_process(tmp_path: Path) -> None:
    daemons, pid, child = started(tmp_path, STUBBORN)
    assert Daemons(tmp_path).running() == {"one": pid}
    assert not gone(child)
    daemons.stop()
    assert Daemons(tmp_path).running() == {}


def test_stopping_ends_the_children_of_a_killed_process(tmp_path: Path) -> None:
    daemons, pid, child = started(tmp_path, STUBBORN)
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not daemons.running(), 5, lambda: True)
    assert not gone(child)
    daemons.stop()
    assert gone(pid) and gone(child)


def test_a_process_that_has_the_id_now_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    (tmp_path / "pids").mkdir()
    (tmp_path / "pids" / "one").write_text(f"{other.pid} 12345")
    daemons = Daemons(tmp_path)
    assert daemons.running() == {}
    daemons.stop()
    assert other.poll() is None
    other.kill()
    other.wait()


def test_waiting_ends_when_nothing_lives() -> None:
    start_s = time.monotonic()
    assert not wait_until(lambda: False, 60, lambda: False)
    assert time.monotonic() - start_s < 5


def test_free_ports_differ_and_nobody_listens_there() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20 and not any(map(listens, ports))


@pytest.mark.parametrize("log", ["", "1\n2\n3\n"])
def test_the_tail_of_a_log(log: str, tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    assert daemons.tail("one") == ""
    daemons.log("one").parent.mkdir()
    daemons.log("one").write_text(log)
    assert daemons.tail("one", 2) == "\n".join(log.split()[-2:])
