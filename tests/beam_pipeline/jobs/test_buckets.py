"""The whole job with everything in a bucket that answers badly, and on bad machines."""

import contextlib
import glob
import json
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_pipeline.cli import main
from clipseed.io import storage
from clipseed.io.gcs import bucket_and_key
from clipseed.io.listing import list_files
from clipseed.run.reader import Run
from tests.support.made_bad_files import write_heavy
from tests.support.made_media import film, still, tone, write_video
from tests.support.mined import mining_flags
from tests.support.paths import DATA
from tests.support.servers.unruly_proxy import TROUBLES, unruly

MOBILENET = DATA / "models" / "mobilenet_v2_1.0_224_features"
# Of those of DATA: most kinds of file, and not minutes of work.
MAX_VIDEO_BYTES = 560_000


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where temporary files are made, empty."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two films of three scenes: sound.mp4 shows 1 then 2, mute.mp4 shows 3."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "videos").mkdir()
    two_scenes = np.concatenate([film(1, 4), film(2, 10)])
    write_video(root / "videos" / "sound.mp4", two_scenes, sound=tone(14))
    write_video(root / "videos" / "mute.mp4", film(3, 12))
    for scene in (1, 2, 3):
        Image.fromarray(still(scene)).save(root / f"{scene}.png")
    rows = "".join(f"{scene}.png,scene {scene}\n" for scene in (1, 2, 3))
    (root / "seeds.csv").write_text("image,caption\n" + rows)
    (root / "videos.csv").write_text("video\nvideos/sound.mp4\nvideos/mute.mp4\n")
    return root


SETTINGS = ("--num_shards=2", "--clip_fps=5", "--part_s=5")


def mine(root: str, output: str, *flags: str) -> int:
    """Mine with the workers of a user's job; return the exit status."""
    places = {"videos": "videos.csv", "settings": SETTINGS}
    return main(["mine", *mining_flags(root, output, *flags, **places)])


@pytest.fixture(scope="module")
def local_run(corpus: Path) -> dict[str, bytes]:
    """Return the files of an undisturbed run on local files."""
    assert mine(str(corpus), f"{corpus}/run") == 0
    return files(f"{corpus}/run")


def upload(folder: Path, uri: str) -> str:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("run/"):
            storage.write_bytes(f"{uri}/{name}", path.read_bytes())
    return uri


def files(root: str) -> dict[str, bytes]:
    """Name and content of every file under a place."""
    return {
        uri.removeprefix(f"{root}/"): storage.read_bytes(uri, 1 << 30)
        for uri in list_files(root)
    }


def results(run: dict[str, bytes]) -> dict[str, bytes]:
    """Return what does not depend on where seeds and videos are."""
    kept = ("pairs.csv", "clips/", "rejected/", "index/")
    return {name: data for name, data in run.items() if name.startswith(kept)}


def rows(run: dict[str, bytes], table: str, tmp_path: Path) -> list[dict[str, object]]:
    found = []
    for name in sorted(name for name in run if name.startswith(f"{table}/")):
        path = tmp_path / "table.parquet"
        path.write_bytes(run[name])
        found += pq.read_table(path).to_pylist()
    return found


def objects(bucket: str) -> set[str]:
    """Return the names of all objects, hidden ones too."""
    return {blob.name for blob in bucket_and_key(bucket)[0].list_blobs()}


def test_a_bad_bucket_gives_what_local_files_give(
    corpus: Path,
    local_run: dict[str, bytes],
    bucket: str,
    scratch: Path,
    tmp_path: Path,
) -> None:
    remote = upload(corpus, f"{bucket}/corpus")
    before = objects(bucket)
    with unruly() as proxy:
        assert mine(remote, f"{bucket}/run") == 0
    assert os.listdir(scratch) == []
    assert all(proxy.troubles[trouble] for trouble in TROUBLES)
    run = files(f"{bucket}/run")
    assert results(run) == results(local_run)
    for table in ("pairs", "matches"):
        assert rows(run, table, tmp_path) == rows(local_run, table, tmp_path)
    assert objects(bucket) - before == {f"run/{name}" for name in run}
    # Five times asked for: the header, three parts, the clips. Once more after a cut.
    fetched = {path: n for (_, path), n in proxy.served.items() if "/download/" in path}
    films = [times for path, times in fetched.items() if path.endswith(".mp4")]
    assert len(films) == 2 and max(films) <= 2


def messages(run: dict[str, bytes]) -> dict[str, list[str]]:
    """Return reasons and messages of dead letters, by video."""
    lines = [
        json.loads(line)
        for name, data in run.items()
        if name.startswith("rejected/")
        for line in data.splitlines()
    ]
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(line["key"], []).append(f"{line['reason']} {line['message']}")
    return found


def test_a_film_larger_than_the_scratch_disk_costs_itself_alone(
    corpus: Path, bucket: str, scratch: Path, tmp_path: Path
) -> None:
    remote = upload(corpus, f"{bucket}/corpus")
    large = (corpus / "videos" / "sound.mp4").stat().st_size
    small = (corpus / "videos" / "mute.mp4").stat().st_size
    assert small < large
    limit = f"--scratch_gib={(large - 1) / 2**30}"
    assert mine(remote, str(tmp_path / "run"), limit) == 0
    run = files(str(tmp_path / "run"))
    (name, (message,)) = messages(run).popitem()
    assert name == "videos/sound.mp4" and message.startswith("too_large ")
    assert "--scratch_gib" in message
    assert {row["video"] for row in rows(run, "pairs", tmp_path)} == {"videos/mute.mp4"}
    assert os.listdir(scratch) == []


# --- what takes longer ---------------------------------------------------------------


@contextlib.contextmanager
def killed_when_it_opens(suffix: str) -> Iterator[list[int]]:
    """Kill, once, the decoder that has a file open whose name ends so."""
    victims: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not victims and not done.wait(0.02):
            for name in glob.glob("/proc/[0-9]*/fd/*"):
                with contextlib.suppress(OSError):
                    pid = int(name.split("/")[2])
                    if os.readlink(name).endswith(suffix) and pid != os.getpid():
                        os.kill(pid, signal.SIGKILL)
                        victims.append(pid)
                        return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield victims
    finally:
        done.set()
        watcher.join()


@pytest.mark.ci_only
def test_decoders_that_die_or_hang_cost_one_film_each(
    corpus: Path, bucket: str, scratch: Path, tmp_path: Path
) -> None:
    remote = upload(corpus, f"{bucket}/corpus")
    write_heavy(tmp_path / "slow.webm")
    heavy = (tmp_path / "slow.webm").read_bytes()
    names = ("videos/sound.mp4", "videos/mute.mp4", "slow.webm", "killed.WEBM")
    for name in names[2:]:
        storage.write_bytes(f"{remote}/{name}", heavy)
    storage.write_bytes(f"{remote}/videos.csv", "\n".join(("video", *names)).encode())
    with killed_when_it_opens(".WEBM") as victims:
        output = tmp_path / "run"
        limits = ("--video_timeout_s=3", "--part_s=120")
        assert mine(remote, str(output), *limits) == 0
    run = files(str(output))
    found = messages(run)
    assert len(victims) == 1
    assert sorted(found) == ["killed.WEBM", "slow.webm"]
    (killed,), (slow,) = found["killed.WEBM"], found["slow.webm"]
    assert killed.startswith("decoder_crashed ") and "SIGKILL" in killed
    assert slow.startswith("decode_timeout ")
    assert {row["video"] for row in rows(run, "pairs", tmp_path)} == set(names[:2])
    assert all(stage.balanced for stage in Run.open(str(output)).mining.accounting)
    assert os.listdir(scratch) == []


@pytest.fixture(scope="module")
def real_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images, videos and a model, as a bucket would hold them."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    root = tmp_path_factory.mktemp("real")
    shutil.copytree(MOBILENET, root / "mobilenet")
    shutil.copytree(DATA / "images", root / "images")
    shutil.copy(DATA / "pairs.csv", root / "seeds.csv")
    (root / "videos").mkdir()
    for path in (DATA / "videos").iterdir():
        if path.stat().st_size <= MAX_VIDEO_BYTES:
            shutil.copy(path, root / "videos")
    names = sorted(path.name for path in (root / "videos").iterdir())
    lines = ["video", *(f"videos/{name}" for name in names)]
    (root / "videos.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.ci_only
def test_real_files_a_model_and_an_index_in_a_bad_bucket(
    real_corpus: Path,
    bucket: str,
    scratch: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    common = ("--threshold=0.7", "--part_s=20")
    flags = (f"--embedder=hub:{real_corpus}/mobilenet", *common)
    assert mine(str(real_corpus), str(tmp_path / "run"), *flags) == 0
    wanted = files(str(tmp_path / "run"))
    remote = upload(real_corpus, f"{bucket}/real")
    before = objects(bucket)
    with unruly() as proxy:
        flags = (f"--embedder=hub:{remote}/mobilenet", *common)
        index = f"{bucket}/index"
        build = [f"--seeds={remote}/seeds.csv", f"--output={index}", *flags[:2]]
        assert main(["index", "build", *build]) == 0
        assert mine(remote, f"{bucket}/again", f"--index={index}", *flags) == 0
    assert os.listdir(scratch) == []
    assert sum(proxy.troubles[trouble] for trouble in TROUBLES[:4]) > 50
    found = files(f"{bucket}/again")
    assert len(rows(found, "pairs", tmp_path)) > 5
    assert results(found) == {
        name: data
        for name, data in results(wanted).items()
        if not name.startswith("index/")
    }
    for table in ("pairs", "matches"):
        assert rows(found, table, tmp_path) == rows(wanted, table, tmp_path)
    made = {f"again/{name}" for name in found}
    left = objects(bucket) - before - made
    assert left and all(name.startswith("index/") for name in left)
