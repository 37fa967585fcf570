"""What a decoder that was taken over can still do: nothing but read its input."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transforms.media.isolation.worker_process import Isolation
from transforms.media.media_file import MediaFile

ALLOWED = "allowed"


def run(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def kernel() -> None:
    """Skip what a kernel without the two cannot do; docs/security.md says so too."""
    done = run(
        "from transforms.media.isolation.sandbox import confine; print(*confine())"
    )
    if done.stdout.strip():
        pytest.skip(f"this kernel does not offer {done.stdout.strip()}")


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return ALLOWED


def attempts(folder: str, port: int, parent: int) -> dict[str, Callable[[], object]]:
    """Return what a decoder under somebody else's control would try."""

    def connect() -> None:
        with socket.socket() as made:
            made.connect(("127.0.0.1", port))

    return {
        "connect": connect,
        "datagram": lambda: socket.socket(type=socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "beside": lambda: open(f"{folder}/beside.txt"),
        "itself": lambda: open(f"{folder}/input.mp4"),
        "list": lambda: os.listdir(folder),
        "passwords": lambda: open("/etc/passwd"),
        "environment": lambda: open(f"/proc/{parent}/environ"),
        "write": lambda: open(f"{folder}/new.txt", "w"),
        "remove": lambda: os.unlink(f"{folder}/beside.txt"),
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
        "signal": lambda: os.kill(parent, 0),
    }


def try_all(file: MediaFile, *where: object) -> Iterator[tuple[str, str]]:
    for name, attempt in attempts(*where).items():  # type: ignore[arg-type]
        yield name, outcome(attempt)
    yield "input", file.reader().read(100).decode()


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("beside.txt", "input.mp4"):
        (tmp_path / name).write_text(f"content of {name}")
    return tmp_path


@pytest.mark.usefixtures("kernel")
def test_a_decoder_reads_its_input_and_nothing_else(folder: Path, port: int) -> None:
    isolation = Isolation()
    where = (str(folder), port, os.getpid())
    try:
        path = str(folder / "input.mp4")
        found = dict(isolation.iterate(try_all, *where, file=path, limit_s=30))
    finally:
        isolation.close()
    assert found.pop("input") == "content of input.mp4"
    assert set(found.values()) == {"PermissionError"}, found
    assert (folder / "beside.txt").exists() and not (folder / "new.txt").exists()


def test_without_a_child_nothing_is_forbidden(folder: Path, port: int) -> None:
    """The attempts themselves are real: where nothing confines, they succeed."""
    where = (str(folder), port, os.getpid())
    harmless = ("connect", "beside", "passwords", "environment", "signal", "unix")
    found = {name: outcome(attempts(*where)[name]) for name in harmless}
    assert set(found.values()) == {ALLOWED}


CONFINED_ALONE = """
import os, sys, time
from tests.transforms.media.isolation.test_sandbox import attempts, outcome
from transforms.media.isolation.sandbox import confine
missing = confine([], use_landlock={landlock}, use_seccomp={seccomp})
print(*missing, sep=",")
found = attempts({folder!r}, {port}, os.getppid())
for name in {names!r}:
    print(name, outcome(found[name]))
"""
# What each defends alone, where the kernel lacks the other.
BY_SECCOMP = ("connect", "datagram", "unix", "beside", "passwords", "environment",
              "write", "execute", "fork", "signal")  # fmt: skip
BY_LANDLOCK = ("beside", "list", "passwords", "environment", "write", "remove",
               "execute")  # fmt: skip


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("landlock", "names", "missing"),
    [(False, BY_SECCOMP, "Landlock"), (True, BY_LANDLOCK, "seccomp")],
)
def test_each_half_holds_alone(
    folder: Path, port: int, landlock: bool, names: tuple[str, ...], missing: str
) -> None:
    script = CONFINED_ALONE.format(
        landlock=landlock,
        seccomp=not landlock,
        folder=str(folder),
        port=port,
        names=names,
    )
    done = run(script)
    assert done.returncode == 0, done.stderr
    told, *lines = done.stdout.split("\n")
    assert told == missing
    found = dict(line.split() for line in lines if line)
    assert found == dict.fromkeys(names, "PermissionError")


def own_pid() -> Iterator[int]:
    yield os.getpid()


def test_no_thread_was_there_before_the_confinement() -> None:
    """Landlock and seccomp bind the calling thread and those it starts, no others."""
    isolation = Isolation()
    (pid,) = isolation.iterate(own_pid, limit_s=30)
    assert len(os.listdir(f"/proc/{pid}/task")) == 1
    isolation.close()


def test_cpu_time_is_counted_from_the_call_on() -> None:
    script = (
        "import time\n"
        "from transforms.media.isolation.sandbox import limit_cpu\n"
        "for _ in range(2):\n"
        "    limit_cpu(1)\n"
        "    end = time.process_time() + 0.7\n"
        "    while time.process_time() < end: pass\n"
        "print('still here', flush=True)\n"
        "while True: pass\n"
    )
    done = run(script)
    assert done.stdout == "still here\n" and done.returncode == -signal.SIGXCPU
