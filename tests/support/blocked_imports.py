"""Python processes in which some packages cannot be imported."""

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.support.paths import ROOT

_BLOCK = """
import sys

class _Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, _Blocked())
"""


def run_without(names: Sequence[str], code: str, *arguments: str) -> str:
    """Run code where the packages of these names are missing; return what it prints.

    Raises:
        AssertionError: it failed; with its traceback.
    """
    script = _BLOCK.format(names=set(names)) + code
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
