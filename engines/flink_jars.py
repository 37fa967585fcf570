"""Fetch Flink and Beam's runner for it into `.cache/flink`, once.

    .cache/flink/flink/*.jar       Flink, from the Python package that carries its jars
    .cache/flink/job_server/*.jar  Beam's runner and its dependencies, from Maven
    .cache/flink/job-server.jar    starts the job server: `java -jar`, or
                                   `--flink_job_server_jar` of Beam

Requires Java 11 or 17, Maven and pip; prints the path of the job server's jar.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

FLINK_VERSION = "1.20.3"
CACHE = Path(__file__).resolve().parents[1] / ".cache" / "flink"
JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
# Packages that Flink and Beam access by reflection; Java 17 must be told to allow it.
OPENED = tuple(
    f"java.base/java.{name}"
    for name in ("io", "lang", "lang.invoke", "net", "nio", "text", "time", "util")
) + ("java.base/java.util.concurrent", "java.base/sun.nio.ch")
_PACKAGE = f"apache-flink-libraries=={FLINK_VERSION}"
_POM = Path(__file__).with_name("flink_runner_pom.xml")


class MissingEngine(Exception):
    """Flink cannot run on this machine; the message says what to do about it."""


def fetch() -> Path:
    """Complete the cache, and return its folder.

    Raises:
        MissingEngine: a tool is missing, or a download failed.
    """
    if not (CACHE / "job-server.jar").exists():
        require("java", "openjdk-17-jre-headless")
        require("mvn", "maven")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _fetch_flink(Path(scratch), CACHE / "flink")
            _fetch_runner(Path(scratch) / "runner", CACHE / "job_server")
            # Last, because its presence means that everything else is there.
            write_launcher(Path(scratch) / "launcher", _job_server_jars())
            (Path(scratch) / "launcher").replace(CACHE / "job-server.jar")
    return CACHE


def require(program: str, debian_package: str) -> str:
    """Return the path of a program.

    Raises:
        MissingEngine: it is not on PATH.
    """
    path = shutil.which(program)
    if path is None:
        raise MissingEngine(
            f"{program} is not on PATH: install it (Debian: apt-get install "
            f"{debian_package})"
        )
    return path


def _fetch_flink(scratch: Path, target: Path) -> None:
    """Unpack the jars of the source distribution, without building or running it."""
    source = ["download", "--no-deps", "--no-binary=:all:", "--no-build-isolation"]
    _run([sys.executable, "-m", "pip", *source, "-d", str(scratch), _PACKAGE])
    archive = next(scratch.glob("apache*flink*.tar.gz"))
    unpacked = scratch / "flink"
    unpacked.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            if "/deps/lib/" in member.name and name.startswith(("flink-dist", "log4j")):
                member.name = name
                tar.extract(member, unpacked, filter="data")
    _replace(unpacked, target)


def _fetch_runner(scratch: Path, target: Path) -> None:
    """Let Maven resolve the runner, without Flink's jars, which we have."""
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime"]
    into = f"-DoutputDirectory={scratch}"
    _run(
        [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(_POM),
            *goal,
            into,
            "-DexcludeGroupIds=org.apache.flink",
        ]
    )
    _replace(scratch, target)


def _replace(new: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    new.replace(target)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise MissingEngine(f"{' '.join(command)} failed:\n{tail}")


def _job_server_jars() -> list[Path]:
    return [
        path
        for name in ("flink", "job_server")
        for path in sorted((CACHE / name).glob("*.jar"))
    ]


def write_launcher(path: Path, jars: list[Path]) -> None:
    """Write a jar that only names the other jars and the class to start."""
    manifest = {
        "Manifest-Version": "1.0",
        "Main-Class": JOB_SERVER,
        "Add-Opens": " ".join(OPENED),
        "Class-Path": " ".join(f"{jar.parent.name}/{jar.name}" for jar in jars),
    }
    lines = [line for item in manifest.items() for line in _wrapped(": ".join(item))]
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "\r\n".join([*lines, "", ""]))


def _wrapped(line: str) -> Iterator[str]:
    """Yield lines of at most 72 bytes; continued ones start with a space (JAR)."""
    yield line[:70]
    for start in range(70, len(line), 69):
        yield " " + line[start : start + 69]


if __name__ == "__main__":
    try:
        print(fetch() / "job-server.jar")
    except MissingEngine as error:
        sys.exit(f"flink_jars: {error}")
