"""How Flink's parts are put together."""

import zipfile
from pathlib import Path

import pytest

from engines.flink_jars import JOB_SERVER, MissingEngine, require, write_launcher


def attributes(manifest: bytes) -> dict[str, str]:
    """Parse a JAR manifest: lines of at most 72 bytes, continued after a space."""
    assert manifest.endswith(b"\r\n\r\n")
    assert max(map(len, manifest.split(b"\r\n"))) <= 72
    text = manifest.decode().replace("\r\n ", "")
    return dict(line.split(": ", 1) for line in text.split("\r\n") if line)


def test_the_launcher_names_its_neighbors(tmp_path: Path) -> None:
    jars = [tmp_path / "flink" / f"jar-{number}.jar" for number in range(50)]
    write_launcher(tmp_path / "job-server.jar", jars)
    with zipfile.ZipFile(tmp_path / "job-server.jar") as jar:
        found = attributes(jar.read("META-INF/MANIFEST.MF"))
    assert found["Main-Class"] == JOB_SERVER
    assert found["Class-Path"].split() == [f"flink/{jar.name}" for jar in jars]
    assert "java.base/java.util" in found["Add-Opens"].split()


def test_a_missing_program_is_told_with_its_package() -> None:
    with pytest.raises(MissingEngine, match="apt-get install some-package"):
        require("no-such-program", "some-package")
