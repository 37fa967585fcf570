"""The README: short, true, and every command in it runs."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.quick_compiler import as_users_compile

README = (ROOT / "README.md").read_text(encoding="utf-8")
# The test command is what runs this file.
_NOT_AGAIN = {"./run test"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_it_is_short() -> None:
    assert README.count("\n") <= 200


def test_the_pages_and_pictures_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_python_in_it_is_python() -> None:
    assert all(ast.parse(block) for block in blocks("python"))


def test_the_benchmarks_that_it_names_exist() -> None:
    named = set(re.findall(r"-m\s+(benchmarks[.\w]*)", README))
    assert named
    for name in named:
        place = ROOT.joinpath(*name.split("."))
        assert (place / "__main__.py").is_file() or place.with_suffix(".py").is_file()


@pytest.mark.ci_only
@pytest.mark.timeout(1500)
def test_every_command_runs(tmp_path: Path) -> None:
    """Run the blocks one after another, in a folder that looks like the checkout."""
    if not (ROOT / ".venv" / "bin" / "clipseed").exists():
        pytest.skip("./run has not set up .venv here")
    for path in ROOT.iterdir():
        if path.name not in {"demo_run", ".git"}:
            (tmp_path / path.name).symlink_to(path)
    shell = [line for block in blocks("sh") for line in block.splitlines()]
    script = "\n".join(line for line in shell if line not in _NOT_AGAIN)
    assert len(shell) - script.count("\n") - 1 == len(_NOT_AGAIN)
    python = "\n".join(f".venv/bin/python - <<'E'\n{b}E\n" for b in blocks("python"))
    done = subprocess.run(  # Job control, as in the shell of a reader.
        ["bash", "-m", "-euxo", "pipefail", "-c", f"{script}\n{python}"],
        cwd=tmp_path,
        env=as_users_compile(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "The right clips were found." in done.stdout
    assert (tmp_path / "demo_run" / "run" / "contact_sheet.png").is_file()
    assert (tmp_path / "found.png").is_file()
    mined = (tmp_path / "my_run" / "pairs.csv").read_bytes()
    assert (tmp_path / "served_run" / "pairs.csv").read_bytes() == mined
