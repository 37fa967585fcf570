"""The command line: help, commands, and no library before its time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipeline.cli import COMMANDS, main, usage

HEAVY = ("tensorflow", "tensorflow_hub", "tensorflow_io", "scann", "jax", "flax",
         "apache_beam", "grpc")  # fmt: skip


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if line.startswith("  ")]
    summaries = [f"{name} {command.summary}" for name, command in COMMANDS.items()]
    assert [" ".join(line.split()) for line in lines] == summaries
    assert err == ""


def test_without_a_command_the_commands_are_listed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out == f"{usage('clipseed', COMMANDS)}\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("min", "did you mean mine?"), ("plan", "see `clipseed --help`")],
)
def test_an_unknown_command_is_named(
    name: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--seeds=s"]) == 2
    problem = f"clipseed: unknown command {name!r}; {hint}\n"
    assert capsys.readouterr() == ("", problem)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_explains_itself(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: clipseed {command}" in capsys.readouterr().out


def test_flags_and_status_are_handed_through(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["inspect", str(tmp_path)]) == 2
    assert f"{tmp_path} is not a finished run" in capsys.readouterr().err


def loaded_by(code: str) -> set[str]:
    """Return the heavy libraries that a program has loaded when it ends."""
    end = f"print(*(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    script = f"import atexit, sys\natexit.register(lambda: {end})\n{code}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode in (0, 2), done.stderr
    return set(done.stderr.split()) & set(HEAVY)


def test_no_help_loads_a_library() -> None:
    code = """
from beam_pipeline.cli import COMMANDS, main
assert main(["--help"]) == 0
for command in COMMANDS:
    assert main([command, "--help"]) == 0
for command in ("build", "audit", "serve"):
    assert main(["index", command, "--help"]) == 0
"""
    assert loaded_by(code) == set()


def test_a_wrong_flag_is_refused_before_a_library_is_loaded() -> None:
    code = "from beam_pipeline.cli import main; main(['mine', '--top_k=0'])"
    assert loaded_by(code) == set()


def test_mine_loads_beam_and_no_model() -> None:
    code = "from beam_pipeline.cli import main; main(['mine', '--seeds=none', "
    code += "'--videos=none', '--output=out'])"
    assert loaded_by(code) - {"grpc"} == {"apache_beam"}


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "beam_pipeline.cli", "no such command"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("clipseed: unknown command 'no such command'")


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_interrupted_command_says_so_without_a_traceback(
    tmp_path: Path, number: signal.Signals, status: int, word: str
) -> None:
    command = [sys.executable, "-m", "beam_pipeline.cli", "demo", "--output", "demo"]
    job = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert job.stdout is not None
    assert job.stdout.readline().startswith("Rendering")  # And continues for seconds.
    job.send_signal(number)
    _, error = job.communicate(timeout=60)
    assert job.returncode == status
    assert error.startswith(f"clipseed demo: {word}; ")
    assert len(error.splitlines()) == 1
