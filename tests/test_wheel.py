"""The wheel, beside what reading a run requires and nothing else."""

import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.tiny_run import clip_record, write_run
from tests.test_dependencies import pins

READ = """
import importlib.util, sys
import clipseed
absent = ("apache_beam", "tensorflow", "jax", "av", "scann")
assert not [name for name in absent if importlib.util.find_spec(name)]
run = clipseed.open_run(sys.argv[1], verify="checksums")
for clip in run.clips():
    print(clip.clip_id, clip.captions[0].text, clip.decode_frames().shape)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from what git tracks."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    for name in listed.split("\0")[:-1]:
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    pip = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir=dist", "."]
    subprocess.run(pip, cwd=source, check=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def reading(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment of the wheel and what `read.lock` names; return its bin."""
    venv = tmp_path_factory.mktemp("reading") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    for name in pins("read"):
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(file.locate())
    options = ["--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", *options]
    subprocess.run([*pip, wheel], check=True)
    return venv / "bin"


def said(command: list[str | Path], cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_wheel_holds_packages_and_their_data_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = ("beam_pipeline", "clipseed", "index_service", "models", "transforms")
    assert {f"{package}/py.typed" for package in packages} <= set(names)
    assert "index_service/wire/search.proto" in names
    rooms = {name.partition("/")[0] for name in names}
    assert {room for room in rooms if ".dist-info" not in room} == set(packages)


@pytest.mark.parametrize("command", [[], ["mine"]])
def test_help_needs_no_extra(command: list[str], reading: Path, tmp_path: Path) -> None:
    text = said([reading / "clipseed", *command, "--help"], tmp_path)
    assert text.startswith(f"usage: {' '.join(['clipseed', *command])} ")


def test_a_run_is_read_without_beam_and_tensorflow(
    reading: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", [clip_record(1, ["a lake"], frames=5)])
    printed = said([reading / "python", "-c", READ, run], tmp_path)
    assert printed == "clip1 a lake (5, 48, 64, 3)\n"
