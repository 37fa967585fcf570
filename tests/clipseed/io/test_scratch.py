"""Folders on the scratch disk outlive neither their use nor their process for long."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from clipseed.io import scratch
from clipseed.io.scratch import scratch_folder

MAKE_AND_WAIT = """
import sys, time
from clipseed.io.scratch import scratch_folder
with scratch_folder() as folder:
    open(f"{folder}/film.mp4", "wb").write(b"moov")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_deleted_when_the_work_fails(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:
        Path(folder, "film.mp4").write_bytes(b"moov")
        raise ZeroDivisionError
    assert os.listdir(root) == []


def test_what_a_killed_process_left_is_deleted_and_nothing_else(root: Path) -> None:
    theirs = root / "clipseed-run"  # What a user may well call a folder there.
    theirs.mkdir()
    (theirs / "run.json").write_text("{}")
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_AND_WAIT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(root)},
            text=True,
        )
        for _ in range(2)
    ]
    folders = [maker.stdout.readline().strip() for maker in makers if maker.stdout]
    killed, alive = makers
    killed.kill()
    killed.wait()
    hour_ago_s = time.time() - 3600
    for folder in folders:
        os.utime(folder, (hour_ago_s, hour_ago_s))
    os.utime(theirs, (hour_ago_s, hour_ago_s))
    young = tempfile.mkdtemp(prefix=scratch.PREFIX)  # Not locked yet, or never.
    with scratch_folder():
        assert [os.path.exists(folder) for folder in folders] == [False, True]
    alive.communicate()
    assert not os.path.exists(folders[1])
    assert sorted(os.listdir(root)) == sorted([os.path.basename(young), theirs.name])
    assert os.listdir(theirs) == ["run.json"]
