"""The locks install from an index that has moved on since they were made."""

import functools
import hashlib
import http.server
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# What the index holds, oldest first. `cloud` wants `auth` with an extra, as
# google-cloud-bigquery wants google-auth[pyopenssl].
OFFERED = {
    ("auth", "1.0"): ['openssl; extra == "ssl"'],
    ("auth", "2.0"): ['openssl>=2; extra == "ssl"'],
    ("cloud", "1.0"): ["auth[ssl]", "numbers"],
    ("cloud", "2.0"): ["auth[ssl]>=2", "numbers"],
    ("numbers", "1.0"): [],
    ("numbers", "3.1"): [],
    ("openssl", "1.0"): [],
    ("openssl", "2.0"): [],
}
LOCKED = {"auth": "1.0", "cloud": "1.0", "numbers": "1.0", "openssl": "1.0"}


def write_wheel(simple: Path, name: str, version: str, requires: list[str]) -> Path:
    wheel = simple / name / f"{name}-{version}-py3-none-any.whl"
    wheel.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    lines += ["Provides-Extra: ssl"] if name == "auth" else []
    lines += [f"Requires-Dist: {line}" for line in requires]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = '{version}'\n")
        archive.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield the address of an index, and a lock of what it held earlier."""
    root = tmp_path_factory.mktemp("index")
    wheels = {key: write_wheel(root, *key, OFFERED[key]) for key in OFFERED}
    pins = [
        f"{name}=={version} --hash=sha256:"
        + hashlib.sha256(wheels[name, version].read_bytes()).hexdigest()
        for name, version in LOCKED.items()
    ]
    lock = root / "made.lock"
    lock.write_text("\n".join(pins) + "\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", lock
        server.shutdown()


def environment(url: str, tmp_path: Path) -> dict[str, str]:
    """Return variables under which pip and uv know the made index and no other."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": url,
        "PIP_NO_CACHE_DIR": "1",
        "UV_DEFAULT_INDEX": url,
        "UV_CACHE_DIR": str(tmp_path / "uv"),
    }


def make_venv(tmp_path: Path) -> Path:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    return venv


def installed(venv: Path) -> dict[str, str]:
    listing = [venv / "bin/python", "-m", "pip", "list", "--format=freeze"]
    lines = subprocess.check_output(
        [*listing, "--disable-pip-version-check"], text=True
    ).split()
    found = dict(line.split("==") for line in lines)
    return {k: v for k, v in found.items() if k not in ("pip", "setuptools", "uv")}


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_newer_versions_do_not_matter(
    index: tuple[str, Path], tmp_path: Path, installer: str
) -> None:
    url, lock = index
    venv = make_venv(tmp_path)
    if installer == "uv":  # Else the index lacks it, and pip alone has to serve.
        (venv / "bin/uv").symlink_to(Path(sys.executable).parent / "uv")
    command = ["sh", ROOT / "requirements/install.sh", venv, lock]
    done = subprocess.run(
        command,
        env=environment(url, tmp_path),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert installed(venv) == LOCKED
    assert ("trying pip" in done.stderr) == (installer == "pip")


def test_pip_of_a_fresh_python_fails_where_it_resolves(
    index: tuple[str, Path], tmp_path: Path
) -> None:
    url, lock = index
    pip = [make_venv(tmp_path) / "bin/python", "-m", "pip"]
    if " 23.2.1 " not in subprocess.check_output([*pip, "--version"], text=True):
        pytest.skip("this Python brings another pip than 23.2.1")
    done = subprocess.run(
        [*pip, "install", "--require-hashes", "-r", lock],
        env=environment(url, tmp_path),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "must have their versions pinned with ==" in done.stderr


def test_every_set_up_installs_by_this_script() -> None:
    run = (ROOT / "run").read_text()
    airflow = (ROOT / "engines/airflow.sh").read_text()
    assert "requirements/install.sh .venv requirements/dev.lock" in run
    assert '"$root/requirements/install.sh" "$venv" "$lock"' in airflow
    assert "pip install" not in airflow
