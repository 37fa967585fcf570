"""Jobs in a process of their own, killed at a chosen point."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tests.support.paths import ROOT

_PATIENCE_S = 120.0


def kill_when(reached: Callable[[], bool], flags: Sequence[str]) -> None:
    """Start `clipseed mine`, and end it with SIGKILL as soon as a point is reached.

    Raises:
        AssertionError: the job ended before.
    """
    job = subprocess.Popen(
        [sys.executable, "-m", "beam_pipeline.mine", *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not reached():
            assert job.poll() is None, f"ended early: {_stderr(job)}"
            assert time.monotonic() < deadline_s, "never got there"
            time.sleep(0.005)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    assert job.returncode == -signal.SIGKILL, f"ended early: {_stderr(job)}"


def _stderr(job: "subprocess.Popen[bytes]") -> str:
    assert job.stderr is not None
    return job.stderr.read().decode(errors="replace")
