"""The house stays in order: import contracts, and folders that can be overlooked."""

import subprocess
import sys
from collections import Counter
from pathlib import Path, PurePosixPath

from tests.longest import LONGEST
from tests.support.paths import ROOT

WIDEST = 16


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_no_folder_holds_more_files_than_one_can_overlook() -> None:
    listed = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True)
    paths = [PurePosixPath(path) for path in listed.splitlines()]
    widths = Counter(str(path.parent) for path in paths if path.suffix == ".py")
    assert len(widths) > 40
    assert {name: n for name, n in widths.items() if n > WIDEST} == {}


def test_the_longest_tests_are_where_they_are_said_to_be() -> None:
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
