"""The tests that `./run check` picks for what changed."""

from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tools import check


def test_a_source_file_is_tested_by_the_file_of_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "a" / "b"
    folder.mkdir(parents=True)
    for name in ("test_c.py", "test_c_more.py", "test_cd.py"):
        (folder / name).touch()
    picked = ["tests/a/b/test_c.py", "tests/a/b/test_c_more.py"]
    assert check.unit_tests(["a/b/c.py", "README.md", "a/b/x.py"], tmp_path) == picked


def test_changed_tests_run_but_whole_jobs() -> None:
    changed = [
        "tests/tools/test_check.py",
        "tests/support/paths.py",
        "tests/beam_pipeline/jobs/test_mine.py",
    ]
    assert check.unit_tests(changed, ROOT) == ["tests/tools/test_check.py"]


def test_a_failing_check_fails_and_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = {"good": ["true"], "bad": ["sh", "-c", "echo why; exit 3"]}
    monkeypatch.setattr(check, "_CHECKS", checks)
    monkeypatch.setattr(check, "changed", lambda: [])
    assert check.main([]) == 1
    said = capsys.readouterr().out
    assert "why" in said and said.endswith("failed: bad\n")
    monkeypatch.setattr(check, "_CHECKS", {"good": ["true"]})
    assert check.main([]) == 0
