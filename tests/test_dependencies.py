"""What requirements.in names is installed as requirements.lock pins it, and imports."""

import importlib
import re
from importlib import metadata

import pytest

from tests.support.paths import ROOT

# Where the module is not named like the distribution; tools have no module to import.
MODULES = {
    "apache-beam": "apache_beam",
    "av": "av",
    "cryptography": "cryptography",
    "faiss-cpu": "faiss",
    "flax": "flax.nnx",
    "gcp-storage-emulator": "gcp_storage_emulator",
    "google-cloud-storage": "google.cloud.storage",
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health.v1.health",
    "grpcio-reflection": "grpc_reflection.v1alpha.reflection",
    "grpcio-tools": "grpc_tools",
    "jax": "jax",
    "matplotlib": "matplotlib",
    "mypy": "mypy",
    "numpy": "numpy",
    "optax": "optax",
    "orbax-checkpoint": "orbax.checkpoint",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "protobuf": "google.protobuf",
    "pyarrow": "pyarrow",
    "pydub": "pydub",
    "pytest": "pytest",
    "pytest-timeout": "pytest_timeout",
    "pytest-xdist": "xdist",
    "ruff": "ruff",
    "safetensors": "safetensors",
    "scann": "scann",
    "setuptools": "setuptools",
    "tensorflow": "tensorflow",
    "tensorflow-hub": "tensorflow_hub",
    "tensorflow-io": "tensorflow_io",
}


def named(file: str) -> list[str]:
    """The distributions of the lines of a requirements file."""
    lines = (ROOT / file).read_text().splitlines()
    return [m[0] for line in lines if (m := re.match(r"[A-Za-z0-9._-]+", line))]


def pins() -> dict[str, str]:
    text = (ROOT / "requirements.lock").read_text()
    return dict(
        re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.M)
    )


def test_every_direct_dependency_is_tried_and_pinned() -> None:
    assert sorted(named("requirements.in")) == sorted(MODULES)
    assert set(MODULES) <= set(pins())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_it_imports_in_the_version_that_is_pinned(name: str) -> None:
    assert metadata.version(name) == pins()[name]
    importlib.import_module(MODULES[name])
