"""What pyproject.toml requires is installed as the locks pin it, and imports."""

import importlib
import itertools
import re
import tomllib
from importlib import metadata
from typing import Any

import pytest

from tests.support.paths import ROOT

# The module that each distribution is imported for.
MODULES = {
    "apache-beam": "apache_beam",
    "av": "av",
    "charset-normalizer": "charset_normalizer",
    "cryptography": "cryptography",
    "faiss-cpu": "faiss",
    "flax": "flax.nnx",
    "gcp-storage-emulator": "gcp_storage_emulator",
    "google-cloud-storage": "google.cloud.storage",
    "google-crc32c": "google_crc32c",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health.v1.health",
    "grpcio-reflection": "grpc_reflection.v1alpha.reflection",
    "grpcio-tools": "grpc_tools",
    "hypothesis": "hypothesis",
    "huggingface-hub": "huggingface_hub",
    "ijson": "ijson",
    "import-linter": "importlinter",
    "jax": "jax",
    "matplotlib": "matplotlib",
    "mkdocs-material": "material",
    "mkdocstrings": "mkdocstrings",
    "ml-dtypes": "ml_dtypes",
    "mypy": "mypy",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "optax": "optax",
    "orbax-checkpoint": "orbax.checkpoint",
    "pillow": "PIL",
    "pocketsphinx": "pocketsphinx",
    "prometheus-client": "prometheus_client",
    "protobuf": "google.protobuf",
    "psutil": "psutil",
    "pyarrow": "pyarrow",
    "pycocoevalcap": "pycocoevalcap.eval",
    "pydub": "pydub",
    "pytest": "pytest",
    "pytest-timeout": "pytest_timeout",
    "pytest-xdist": "xdist",
    "rich": "rich",
    "ruff": "ruff",
    "safetensors": "safetensors",
    "scann": "scann",
    "setuptools": "setuptools",
    "tenacity": "tenacity",
    "tensorflow": "tensorflow",
    "tensorflow-hub": "tensorflow_hub",
    "tensorflow-io": "tensorflow_io",
    "tokenizers": "tokenizers",
    "uv": "uv",
}


LOCKS = ("dev", "mine", "read", "serve", "train")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def direct() -> set[str]:
    """Return the distributions that pyproject.toml requires, for any extra."""
    extras = project()["optional-dependencies"]
    lines = [*project()["dependencies"], *itertools.chain(*extras.values())]
    found = {re.split(r"[^A-Za-z0-9-]", line)[0] for line in lines}
    # Read by mypy alone.
    stubs = {n for n in found if n.startswith("types-") or n.endswith("-stubs")}
    return found - {project()["name"]} - stubs


def pins(lock: str = "dev") -> dict[str, str]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    return dict(
        re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.M)
    )


def test_every_direct_dependency_is_tried_and_pinned() -> None:
    assert direct() == set(MODULES)
    assert set(MODULES) <= set(pins())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_it_imports_in_the_version_that_is_pinned(name: str) -> None:
    assert metadata.version(name) == pins()[name]
    importlib.import_module(MODULES[name])


@pytest.mark.parametrize("lock", LOCKS)
def test_the_locks_agree_on_versions(lock: str) -> None:
    assert pins(lock).items() <= pins().items()
    required = project()["optional-dependencies"].get(lock, [])
    named = {re.split(r"[^A-Za-z0-9-]", line)[0] for line in required}
    assert named - {project()["name"]} <= set(pins(lock))


def test_what_users_install_is_what_they_use() -> None:
    tools = {"faiss-cpu", "matplotlib", "mypy", "pytest", "ruff", "uv"}
    assert tools <= set(pins())
    assert not tools & {name for lock in LOCKS[1:] for name in pins(lock)}
    heavy = {"apache-beam", "tensorflow", "jax", "scann"}
    assert not heavy & set(pins("read"))
    assert heavy & set(pins("serve")) == {"tensorflow", "scann"}
    assert "apache-beam" not in pins("train")
