"""Progress: a live line on a terminal, plain lines elsewhere."""

import os
import pty
import subprocess
import sys
import time

import pytest

from beam_pipeline.report.progress import line, showing_progress
from transforms import progress

WORK = """
import time
from beam_pipeline.report.progress import showing_progress
from transforms import progress
with showing_progress():
    progress.add("frames", 42)
    time.sleep(0.5)
print("done")
"""


def test_the_line_says_what_was_done_and_how_fast() -> None:
    progress.reset()
    progress.add("parts", 2)
    progress.add("frames", 90)
    assert line(3.0) == "   3 s  video parts 2  frames 90 (30/s)  clips 0"
    assert "frames 90 (0/s)" in line(0.0)


def test_in_a_pipe_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress(every_s=0.01):
        progress.add("clips", 3)
        time.sleep(0.2)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) > 1
    assert lines[-1] == "0 s  video parts 0  frames 0 (0/s)  clips 3"
    assert err.replace("\n", "").isprintable()


def test_a_short_run_in_a_pipe_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with showing_progress():
        progress.add("clips", 3)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_line_is_live_and_is_gone_at_the_end() -> None:
    main, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
        check=True,
    )
    os.close(terminal)
    said = os.read(main, 1 << 16).decode()
    os.close(main)
    assert done.stdout == b"done\n"
    assert "frames 42" in said and "\x1b[2K" in said.rpartition("frames 42")[2]
