"""The DAG in Airflow itself, on made films: mined, checked, published, trained on."""

import csv
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.demo.corpus import Film, render_corpus
from tests.support.paths import ROOT

AIRFLOW = ROOT / "engines" / "airflow.sh"
PYTHON = ROOT / ".cache" / "airflow" / "bin" / "python"
pytestmark = [pytest.mark.ci_only, pytest.mark.timeout(1200)]

FILMS = {Film("alpha", (8, 8)): "2026-01-01", Film("bravo", (8,)): "2026-01-02"}
SMALL = {"num_shards": 2, "clip_fps": 10}
TINY = ["epochs=1", "batch_size=2", "task.frame_stride=20"]

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an Airflow with an empty database, in an interpreter of its own."""
    home = str(tmp_path_factory.mktemp("airflow"))
    environment = os.environ | {"AIRFLOW_HOME": home}
    made = subprocess.run([AIRFLOW], env=environment, capture_output=True, text=True)
    if made.returncode and os.environ.get("CLIPSEED_CI_ENGINES") != "1":
        pytest.skip(f"Airflow cannot be had here: {made.stderr[-300:]}")
    assert made.returncode == 0, made.stderr
    return environment


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Write two films of two days; return where they are mined to."""
    folder = tmp_path_factory.mktemp("corpus")
    render_corpus(folder, films=tuple(FILMS), absent_seeds=1)
    with (folder / "uploads.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("video", "upload_date"))
        rows.writerows((film.path, day) for film, day in FILMS.items())
    return {
        "seeds": str(folder / "seeds.csv"),
        "videos": str(folder / "uploads.csv"),
        "output": str(folder / "mined"),
        "mine_flags": SMALL,
        "train_config": "tiny",
        "train_settings": TINY,
        "min_new_pairs": 1,
    }


@pytest.fixture(scope="module")
def run(environment: dict[str, str], settings: dict[str, Any]) -> Run:
    """Return a function that runs the DAG for the interval that ends on a day."""

    def run(end: str, **more: Any) -> tuple[int, str]:
        conf = json.dumps(settings | more)
        command = [AIRFLOW, "dags", "test", "clipseed_daily", end, "--conf", conf]
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    return run


def results(mined: Path) -> dict[str, bytes]:
    """Pointer, manifests, record of training, and all files of the runs."""
    patterns = ("*.json", "manifests/*", "models/*.json", "runs/**/*")
    paths = (path for pattern in patterns for path in mined.glob(pattern))
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


LOOK = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
dag = bag.dags.get("clipseed_daily")
heavy = {"apache_beam", "tensorflow", "jax", "beam_pipeline", "transforms"}
print(json.dumps({
    "errors": {str(k): str(v) for k, v in bag.import_errors.items()},
    "dags": sorted(bag.dags),
    "order": [t.task_id for t in dag.topological_sort()] if dag else [],
    "retries": [t.retries for t in dag.tasks] if dag else [],
    "heavy": sorted(heavy & set(sys.modules)),
    "seeds": dag.params["seeds"] if dag else None,
}))
"""


def test_the_dag_is_read_without_errors_and_without_work(
    environment: dict[str, str],
) -> None:
    known = environment | {"CLIPSEED_DAILY_SEEDS": "gs://bucket/seeds.csv"}
    command = [PYTHON, "-c", LOOK, ROOT / "dags"]
    looked = subprocess.run(command, env=known, stdout=subprocess.PIPE, check=True)
    assert json.loads(looked.stdout.splitlines()[-1]) == {
        "errors": {},
        "dags": ["clipseed_daily"],
        "order": ["list_uploads", "mine", "check", "publish", "train"],
        "retries": [2] * 5,
        "heavy": [],
        "seeds": "gs://bucket/seeds.csv",
    }


@pytest.fixture(scope="module")
def first_day(run: Run, settings: dict[str, Any]) -> str:
    """Return the log of the first day's run."""
    status, log = run("2026-01-02")
    assert status == 0, log
    return log


def test_a_day_is_mined_checked_published_and_trained_on(
    first_day: str, settings: dict[str, Any]
) -> None:
    mined = Path(settings["output"])
    listed = json.loads((mined / "latest.json").read_text())["runs"][0]
    assert listed["day"] == "2026-01-01" and listed["pairs"] >= 2
    pairs = (mined / listed["run"] / "pairs.csv").read_bytes()
    assert pairs.count(b"\n") == listed["pairs"] and b"alpha.mp4" in pairs
    trained = json.loads((mined / "models" / "trained.json").read_text())
    assert trained["days"] == {"2026-01-01": listed["digest"]}
    assert any((mined / "models" / trained["model"] / "checkpoints").iterdir())
    assert "unknown flag" not in first_day and "--labels=airflow-version" in first_day


def test_a_second_run_of_an_interval_changes_nothing(
    first_day: str, run: Run, settings: dict[str, Any]
) -> None:
    mined = Path(settings["output"])
    before = results(mined)
    status, log = run("2026-01-02")
    assert status == 0, log
    assert "2026-01-01: runs/2026-01-01/a, the same as before" in log
    assert "0 new pairs; 1 are asked for" in log
    assert results(mined) == before


def test_a_run_that_falls_behind_is_not_published(
    first_day: str, run: Run, settings: dict[str, Any]
) -> None:
    mined = Path(settings["output"])
    before = results(mined)
    status, log = run("2026-01-03", min_match_rate=1000, min_expected=0)
    assert status != 0
    assert "not published: match rate:" in log and "min_match_rate" in log
    assert (mined / "runs/2026-01-02/a/run.json").exists()
    after = results(mined)
    assert {name: after[name] for name in before} == before


def test_a_day_without_uploads_is_skipped(run: Run, tmp_path: Path) -> None:
    status, log = run("2026-01-04", output=str(tmp_path / "mined"))
    assert status == 0, log
    assert "lists no upload for 2026-01-03" in log
    assert not (tmp_path / "mined").exists()
