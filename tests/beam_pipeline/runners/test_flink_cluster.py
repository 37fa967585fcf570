"""The job on Flink: embedded, on a cluster, and with parts of the cluster killed.

Jars of 200 MB are fetched into `.cache/flink` first, once.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from clipseed.run.accounting import PAIRS
from clipseed.run.reader import Run
from engines import flink_cluster, flink_jars
from engines.daemons import Daemons
from tests.support.paths import DATA

pytestmark = [
    pytest.mark.ci_only,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
]
# Different containers and codecs; some that match a seed, and some that do not.
FEW = ("vas_dog_02677.mp4", "decord_pancake.mkv", "mdn_flower.webm", "skv_bikes.mp4",
       "decord_corrupted.mp4", "exo_av1.mp4", "vas_drum_02480.mp4")  # fmt: skip
FEW_FLAGS = ["--clip_fps=5", "--part_s=4"]
T = TypeVar("T")


def or_skip(make: Callable[[], T]) -> T:
    """Call a function, or skip the test where Flink is not available.

    CI does not accept that.
    """
    try:
        return make()
    except flink_jars.MissingEngine as error:
        if os.environ.get("CLIPSEED_CI_ENGINES"):
            raise
        pytest.skip(str(error))


@contextlib.contextmanager
def mining(
    videos: Path, output: Path, *flags: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """`clipseed mine` in a process of its own; it must succeed, and leaves nothing."""
    command = [sys.executable, "-m", "beam_pipeline.cli", "mine"]
    command += [f"--seeds={DATA / 'pairs.csv'}", f"--videos={videos}"]
    command += [f"--output={output}", *flags]
    job = subprocess.Popen(command, start_new_session=True)
    try:
        yield job
        assert job.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def mine(videos: Path, output: Path, *flags: str) -> Path:
    """Mine, and return the run directory."""
    with mining(videos, output, *flags):
        return output


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a few of the videos."""
    folder = tmp_path_factory.mktemp("few")
    for name in FEW:
        (folder / name).symlink_to(DATA / "videos" / name)
    return folder


@pytest.fixture(scope="module")
def few_mined(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the in-process runner makes of them."""
    return mine(few, tmp_path_factory.mktemp("few_mined") / "run", *FEW_FLAGS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the cluster's logs and pids are."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[list[str]]:
    """Run a cluster; yield the flags for it."""
    yield or_skip(lambda: flink_cluster.start(folder))
    flink_cluster.stop(folder)
    assert not Daemons(folder).running()


def files(run_dir: Path) -> dict[str, bytes]:
    """Return the bytes of what a run wrote, but for `run.json`, which has the time."""
    paths = (path for path in run_dir.rglob("*") if path.is_file())
    names = {path.relative_to(run_dir).as_posix(): path for path in paths}
    kept = {n: p for n, p in names.items() if not n.startswith(("work/", "run.json"))}
    return {name: path.read_bytes() for name, path in sorted(kept.items())}


def same(run_dir: Path, other: Path) -> None:
    """Assert that two runs wrote the same bytes, and counted the same."""
    ours, theirs = files(run_dir), files(other)
    assert list(ours) == list(theirs) and "pairs.csv" in ours
    assert [name for name in ours if ours[name] != theirs[name]] == []
    this, that = Run.open(run_dir), Run.open(other)
    assert this.mining.accounting == that.mining.accounting
    assert all(stage.balanced for stage in this.mining.accounting)
    assert this.manifest.files == that.manifest.files
    assert this.mining.counts[PAIRS] > 0


def test_embedded_flink_writes_the_same_bytes(
    few: Path, few_mined: Path, tmp_path: Path
) -> None:
    or_skip(flink_jars.fetch)
    embedded = ["--runner=FlinkRunner", "--flink_master=[local]"]
    same(mine(few, tmp_path / "run", *FEW_FLAGS, *embedded), few_mined)


def test_the_cluster_writes_the_same_bytes(cluster: list[str], tmp_path: Path) -> None:
    videos = DATA / "videos"
    here = mine(videos, tmp_path / "here")
    same(mine(videos, tmp_path / "there", *cluster), here)


def worker_of_the_pool(daemons: Daemons) -> int:
    """Return the id of a Python worker that lives."""
    threads = Path(f"/proc/{daemons.running()['worker_pool']}/task").glob("*/children")
    ids = (pid for thread in threads for pid in thread.read_text().split())
    return next(int(pid) for pid in ids if Path(f"/proc/{pid}/cmdline").read_bytes())


def task_manager(daemons: Daemons) -> int:
    """Return the id of a TaskManager."""
    return daemons.running()["task_manager_0"]


def restarts(folder: Path) -> int:
    """Return how often jobs of the cluster restarted."""
    log = Daemons(folder).log("job_manager").read_text()
    return log.count("from state RUNNING to RESTARTING")


@pytest.mark.parametrize("victim", [worker_of_the_pool, task_manager])
def test_a_kill_in_the_middle_costs_nothing(
    victim: Callable[[Daemons], int],
    cluster: list[str],
    folder: Path,
    few: Path,
    few_mined: Path,
    tmp_path: Path,
) -> None:
    run_dir, before = tmp_path / "run", restarts(folder)
    with mining(few, run_dir, *FEW_FLAGS, *cluster) as job:
        while not list(run_dir.glob("work/frames/*/*.part")):  # One is embedded.
            assert job.poll() is None
            time.sleep(0.05)
        os.kill(victim(Daemons(folder)), signal.SIGKILL)
        assert not (run_dir / "run.json").exists()
    same(run_dir, few_mined)
    assert restarts(folder) > before
