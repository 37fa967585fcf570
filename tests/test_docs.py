"""The documentation site builds, without a broken link or reference."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "open_run" in (tmp_path / "api" / "index.html").read_text()
