"""Check what every commit should pass, in under 90 s on two cores.

    ./run check               # --no-tests: all but the tests

Runs the linters, types, import contracts and the word list on everything, and the unit
tests of the files that changed since the branch left main, committed or not.
Whole jobs (`tests/beam_pipeline/jobs`) are left to `./run test`.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent

_BIN = Path(sys.executable).parent
_CHECKS: dict[str, list[str | Path]] = {
    "ruff": [_BIN / "ruff", "check", "--quiet", "."],
    "format": [_BIN / "ruff", "format", "--quiet", "--check", "."],
    "words": [sys.executable, "tools/words.py"],
    "imports": [_BIN / "lint-imports", "--no-logo"],
    "types": [_BIN / "mypy"],
}
_WHOLE_JOBS = "tests/beam_pipeline/jobs/"
_MAIN = ("origin/main", "main")


def main(argv: Sequence[str]) -> int:
    """Run every check; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="./run check", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--no-tests", action="store_true", help="Run no tests")
    flags = parser.parse_args(argv)
    failed = [name for name, command in _CHECKS.items() if not _passes(name, command)]
    tests = [] if flags.no_tests else unit_tests(changed(), ROOT)
    if tests and not _passes("tests", _pytest(tests)):
        failed.append("tests")
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return int(bool(failed))


def changed() -> list[str]:
    """Return the paths of what changed since the branch left main, deleted ones not."""
    for main_branch in _MAIN:
        base = _git("merge-base", "HEAD", main_branch)
        if base:
            break
    else:
        base = ["HEAD"]
    untracked = _git("ls-files", "--others", "--exclude-standard")
    return [*_git("diff", "--name-only", "--diff-filter=d", *base), *untracked]


def unit_tests(paths: Iterable[str], root: Path) -> list[str]:
    """Return the test files that belong to changed files, in order.

    `a/b/c.py` is tested by `tests/a/b/test_c.py` and `tests/a/b/test_c_*.py`.
    """
    found: set[str] = set()
    for path in map(PurePosixPath, paths):
        if path.suffix != ".py":
            continue
        if path.parts[0] == "tests":
            found |= {str(path)} if path.name.startswith("test_") else set()
            continue
        folder = root / "tests" / path.parent
        for pattern in (f"test_{path.stem}.py", f"test_{path.stem}_*.py"):
            found |= {f.relative_to(root).as_posix() for f in folder.glob(pattern)}
    return sorted(test for test in found if not test.startswith(_WHOLE_JOBS))


def _pytest(tests: list[str]) -> list[str | Path]:
    workers = ["-n", "2", "--dist", "loadfile"] if len(tests) > 2 else []
    return [sys.executable, "-m", "pytest", *workers, *tests]


def _passes(name: str, command: list[str | Path]) -> bool:
    """Run a check; show what it says only if it fails."""
    start_s = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, check=False, text=True, capture_output=True
    )
    ok = done.returncode == 0
    seconds = time.monotonic() - start_s
    print(f"{name:8}{'ok' if ok else 'FAILED':7}{seconds:5.1f} s", flush=True)
    if not ok:
        print(done.stdout + done.stderr, flush=True)
    return ok


def _git(*arguments: str) -> list[str]:
    """Return git's lines, none if it fails."""
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, check=False, text=True, capture_output=True
    )
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
