"""`clipseed` in a process of its own, with its own folder for temporary files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import ROOT

_PATIENCE_S = 600.0
_MAIN = "import sys\nfrom beam_pipeline.cli import main\nsys.exit(main())"


class Ended(NamedTuple):
    """How a process ended.

    Attributes:
        status: its exit status, negative for a signal.
        stderr: what it said.
        seconds: that it ran.
    """

    status: int
    stderr: str
    seconds: float


class Chaos:
    """Starts `clipseed` in a folder, and ends it when it likes.

    Attributes:
        scratch: the folder for temporary files.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] = {},
        before: str = "",
    ) -> "subprocess.Popen[str]":
        """Start a command, in a process group of its own.

        Args:
            arguments: of `clipseed`.
            environment: variables to set.
            before: Python that runs before it.
        """
        code = f"{before}\n{_MAIN}"
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.scratch)}
            | dict(environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, arguments: Sequence[str], **options: str | Mapping[str, str]
    ) -> Ended:
        """Run a command to its end."""
        start_s = time.monotonic()
        process = self.start(arguments, **options)  # type: ignore[arg-type]
        _, stderr = process.communicate(timeout=_PATIENCE_S)
        return Ended(process.returncode, stderr, time.monotonic() - start_s)

    def kill(self, arguments: Sequence[str], after_s: float) -> bool:
        """Start a command and kill -9 all of it; return whether it still ran."""
        process = self.start(arguments)
        try:
            process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        return process.returncode == -signal.SIGKILL

    def left_over(self, output: Path) -> list[str]:
        """Return temporary files, and hidden ones in an output."""
        hidden = [str(path.relative_to(output)) for path in output.rglob(".*")]
        return sorted([*os.listdir(self.scratch), *hidden])
