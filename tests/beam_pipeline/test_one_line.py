"""Whatever goes wrong, every command ends with a line that says what, and no traceback.

Bad input, a typing error, an output that cannot be written, signals, a full disk and a
closed pipe, over all commands, in this process.
"""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from beam_pipeline import cli
from beam_pipeline.cli import COMMANDS, main
from beam_pipeline.commands.index import COMMANDS as INDEX_COMMANDS
from beam_pipeline.runners.failures import fault_line
from clipseed.io import storage
from clipseed.io.output_lock import locking_output
from tests.support.models.tiny_config import write_config
from tests.support.paths import ROOT
from tests.support.tiny_run import clip_record, write_run

Said = pytest.CaptureFixture[str]

# Each command with input that is not there.
BAD_INPUT = {
    "mine": "--seeds=none.csv --videos=none --output=out",
    "transcribe": "--videos=none --transcripts=none --output=out",
    "caption": "--videos=none --captioner=none --output=out",
    "inspect": "none",
    "estimate-cost": "--videos=-1 --hours=1 --seeds=1",
    "index build": "--embeddings=none.npy --threshold=0.5 --output=out",
    "index audit": "none --queries=none",
    "index serve": "none --port=0",
    "cut-benchmark": "msr_vtt --annotations=none --videos=none --output=out",
    "train": "none.py --data=none --output=out",
    "evaluate": "none --data=none",
    "index-clips": "none --model=none --output=out",
    "search": "words --index=none",
    "demo": "--top_k=none",
}
MISTYPED = {
    "mine": ("--sedes=s --videos=v --output=o", "seeds"),
    "transcribe": ("--vidoes=v --output=o", "videos"),
    "caption": ("--vidoes=v --output=o", "videos"),
    "inspect": ("run --verfy", "verify"),
    "estimate-cost": ("--vidoes=1 --hours=1", "videos"),
    "index build": ("--embedings=e --output=o", "embeddings"),
    "index audit": ("index --querys=q", "queries"),
    "index serve": ("index --prot=1", "port"),
    "cut-benchmark": ("clotho --anotations=a", "annotations"),
    "train": ("tiny --outptu=o", "output"),
    "evaluate": ("model --dta=d", "data"),
    "index-clips": ("run --modle=m", "model"),
    "search": ("words --indx=i", "index"),
    "demo": ("--outputt=o", "output"),
}
# Outputs below a file, so that nobody can create them, not even root.
UNWRITABLE = {
    "mine": "--seeds=s --videos=v --output=file/out",
    "transcribe": "--videos=v --transcripts=t --output=file/out",
    "index build": "--embeddings=vectors.npy --ids=ids.txt --embedder_id=made "
    "--threshold=0.5 --output=file/index",
    "train": "tiny.py --data=run --output=file/out",
    "demo": "--output=file/demo",
}


def leaves() -> list[str]:
    """Return the commands as a user types them."""
    below = [f"index {name}" for name in INDEX_COMMANDS]
    return [*(name for name in COMMANDS if name != "index"), *below]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def last_line(capsys: Said, command: str, arguments: str, status: int = 2) -> str:
    """Run a command; return the last line on stderr."""
    capsys.readouterr()
    assert main([*command.split(), *arguments.split()]) == status
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_every_command_is_walked() -> None:
    assert set(BAD_INPUT) == set(MISTYPED) == set(leaves())


@pytest.mark.parametrize("command", leaves())
def test_help(command: str, capsys: Said) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: clipseed {command} ")


@pytest.mark.parametrize("command", leaves())
def test_bad_input(command: str, folder: Path, capsys: Said) -> None:
    line = last_line(capsys, command, BAD_INPUT[command])
    assert re.match(rf"clipseed ({command}|mine): .*none|.*-1", line)
    assert list(folder.iterdir()) == []  # A failed start leaves nothing.


@pytest.mark.parametrize("command", leaves())
def test_a_typing_error(command: str, folder: Path, capsys: Said) -> None:
    arguments, meant = MISTYPED[command]
    assert main([*command.split(), *arguments.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"clipseed ({command}|mine): unknown flag --\w+; did you mean --{meant}\?",
        line,
    )


@pytest.mark.parametrize("command", UNWRITABLE)
def test_an_output_that_cannot_be_written(
    command: str, folder: Path, capsys: Said
) -> None:
    (folder / "file").write_text("")
    write_config(folder / "tiny.py")
    np.save(folder / "vectors.npy", np.eye(4, dtype=np.float32))
    (folder / "ids.txt").write_text("a\nb\nc\nd\n")
    if command == "train":
        write_run(folder / "run", [clip_record(0, ["x"], frames=4)])
    line = last_line(capsys, command, UNWRITABLE[command])
    assert line.startswith(f"clipseed {command.split()[0]}") and "file" in line


# --- signals, pipes and disks: through the door of every command ----------------------


@pytest.fixture
def command_that(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[], int]], None]:
    """Replace what commands do."""

    def replace(do: Callable[[], int]) -> None:
        monkeypatch.setattr(
            cli, "load", lambda command: SimpleNamespace(run=lambda arguments: do())
        )

    return replace


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal(
    command: str,
    number: signal.Signals,
    status: int,
    word: str,
    capsys: Said,
    command_that: Callable[[Callable[[], int]], None],
) -> None:
    def run() -> int:
        signal.raise_signal(number)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    command_that(run)
    assert main([command]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"clipseed {command}: {word}; start")
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file become larger than 64 KiB, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_without_room(
    command: str,
    folder: Path,
    capsys: Said,
    command_that: Callable[[Callable[[], int]], None],
    small_files: None,
) -> None:
    def run() -> int:
        storage.write_bytes(str(folder / "out" / "big"), bytes(1 << 17))
        return 0

    command_that(run)
    line = last_line(capsys, command, "")
    assert line.startswith(f"clipseed {command}: {folder}/out/big cannot be written: ")
    assert re.search(r"0\.1 MiB were written, and [\d,.]+ MiB are free", line)
    assert list((folder / "out").iterdir()) == []


def test_a_full_disk_of_a_worker_is_the_same_line() -> None:
    """Runners raise the text of a worker's error."""
    inner = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    ours = f"[Errno {errno.ENOSPC}] run/x cannot be written: the disk of run is full"
    text = f"Traceback...\nOSError: {inner}\nOSError: {ours} [while running 'Write']"
    assert fault_line(RuntimeError(text)) == ours.partition("] ")[2]
    denied = PermissionError(errno.EACCES, "Permission denied", "run/x")
    assert fault_line(denied).startswith("run/x cannot be written: permission denied")
    assert fault_line(RuntimeError("KeyError: 3")) == ""


def test_nobody_reads_what_is_printed() -> None:
    command = [sys.executable, "-m", "beam_pipeline.cli", "--help"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, cwd=ROOT, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


# --- two jobs on one output ----------------------------------------------------------


def test_the_second_job_on_an_output_is_refused(folder: Path, capsys: Said) -> None:
    write_config(folder / "tiny.py")
    write_run(folder / "run", [clip_record(0, ["x"], frames=4)])
    for command in ("mine", "transcribe", "train"):
        arguments = UNWRITABLE[command].replace("file/out", "out")
        with locking_output("out"):
            line = last_line(capsys, command, arguments)
        assert line.startswith(f"clipseed {command}: out is in use by process ")
        assert f"process {os.getpid()} (" in line


def test_the_lock_of_a_killed_job_does_not_last(folder: Path) -> None:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with locking_output("out"):
            os.write(write, b"x")
            signal.pause()
    os.read(read, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locking_output("out"):
        assert list(Path("out").iterdir()) == []
