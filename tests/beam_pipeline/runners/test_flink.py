"""What `--runner=FlinkRunner` is given, and is told when something is missing."""

import os
from pathlib import Path

import pytest

from beam_pipeline.mine import run
from beam_pipeline.runners.flink import flink_defaults
from clipseed.errors import InputError

LOCAL = ["--runner=FlinkRunner", "--flink_master=[local]"]
CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a place with a job server's jar and a `java` on PATH."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(java.parent))
    (tmp_path / "job-server.jar").touch()
    return tmp_path / "job-server.jar"


def test_the_fetched_job_server_and_all_cores_are_the_default(jar: Path) -> None:
    assert flink_defaults(LOCAL, jar) == [
        *LOCAL,
        f"--flink_job_server_jar={jar}",
        f"--parallelism={CORES}",
    ]


@pytest.mark.parametrize(
    "flags",
    [
        ["--runner=FnApiRunner"],
        ["--runner=DataflowRunner", "--project=p"],
        ["--runner=FlinkRunner", "--job_endpoint=localhost:8099"],
        [*LOCAL, "--flink_job_server_jar=other.jar", "--parallelism=7"],
    ],
)
def test_what_needs_no_help_stays(flags: list[str], jar: Path) -> None:
    jar.unlink()
    assert flink_defaults(flags, jar) == flags


def test_a_cluster_knows_best_how_many_workers(jar: Path) -> None:
    flags = ["--runner=FlinkRunner", "--flink_master=host:8081"]
    assert flink_defaults(flags, jar)[2:] == [f"--flink_job_server_jar={jar}"]


def test_a_missing_jar_is_told_with_the_command_that_fetches_it(jar: Path) -> None:
    jar.unlink()
    with pytest.raises(InputError, match=r"engines\.flink_jars") as caught:
        flink_defaults(LOCAL, jar)
    assert caught.value.reason == "no_job_server"


def test_missing_java_ends_the_command_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["--seeds=s", "--videos=v", f"--output={tmp_path}/run", *LOCAL]) == 2
    assert "install one (Debian: apt-get install" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
