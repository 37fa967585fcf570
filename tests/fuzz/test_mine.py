"""A job over hostile files beside good ones, and one whose decoder is broken."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from beam_pipeline.mine import run
from benchmarks.fuzz.job import check_job
from clipseed.run.reader import Run
from tests.support.made_media import film, still, write_video
from tests.support.paths import DATA
from transforms.media.isolation.containment import canary

HOSTILE = DATA / "hostile"
# One group of pictures, broken near its end: mined, and told of.
USED_ALL_THE_SAME = {"m0441_remove_r_flv.flv", "m1647_flipfew_r_flv.flv"}


@pytest.fixture(autouse=True)
def fresh_canary() -> Iterator[None]:
    canary.reset()
    yield
    canary.reset()


def corpus(root: Path) -> Path:
    """Write a good video, and a seed of it."""
    (root / "videos").mkdir(parents=True)
    write_video(root / "videos" / "good.mp4", film(1, 2, width=96, height=72))
    Image.fromarray(still(1)).save(root / "good.png")
    (root / "seeds.csv").write_text("image,caption\ngood.png,good\n")
    return root / "videos"


def mine(root: Path, *flags: str) -> int:
    common = ("--num_shards=1", "--threshold=0.5", "--clip_fps=5", "--clip_s=1")
    places = (f"--seeds={root}/seeds.csv", f"--videos={root}/videos")
    return run([*places, f"--output={root}/run", *common, *flags])


def files(root: Path) -> dict[str, bytes]:
    """Return the clips and pairs of a run, by name."""
    found = [root / "run" / "pairs.csv", *(root / "run" / "clips").iterdir()]
    return {path.name: path.read_bytes() for path in found}


@pytest.mark.skipif(not HOSTILE.exists(), reason="shared/data is not on this machine")
def test_hostile_files_cost_themselves_alone(tmp_path: Path) -> None:
    for place in ("alone", "beside"):
        corpus(tmp_path / place)
    videos = tmp_path / "beside" / "videos"
    for path in HOSTILE.glob("m*"):
        shutil.copy(path, videos)
    (videos / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (videos / "list.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    assert mine(tmp_path / "alone") == mine(tmp_path / "beside") == 0
    assert files(tmp_path / "alone") == files(tmp_path / "beside")

    finished = Run.open(tmp_path / "beside" / "run", verify="checksums")
    told = {dead_letter.key for dead_letter in finished.dead_letters()}
    names = {path.name for path in videos.iterdir()}
    assert told == names - {"good.mp4"}
    stages = json.loads((tmp_path / "beside/run/run.json").read_text())["accounting"]
    assert all(stage["balanced"] for stage in stages)
    assert sum(len(list(path.iterdir())) for path in [videos]) == len(names)
    mined = next(s for s in stages if s["stage"] == "extract_frames")
    assert mined["out"] == 1 + len(USED_ALL_THE_SAME)


@pytest.mark.ci_only
@pytest.mark.parametrize("shards", [False, True], ids=["tables", "shards"])
def test_thousands_of_damaged_files_cost_themselves_alone(
    tmp_path: Path, shards: bool
) -> None:
    """Status, every input by id, the good ones' bytes, memory, and what is left."""
    job = check_job(tmp_path, count=1000, seed=2 + shards, shards=shards)
    assert job.problems == []
    assert job.outcomes["video", "used"] > 300
    assert job.outcomes["row", "truncated_shard"] > 50 or not shards


def broken(*_: object) -> Iterator[tuple[int, int]]:
    raise ZeroDivisionError("a bug of ours")
    yield 0, 0


def test_a_broken_decoder_stops_the_job_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    videos = corpus(tmp_path)
    for number in range(24):
        shutil.copy(videos / "good.mp4", videos / f"{number}.mp4")
    monkeypatch.setattr("transforms.frames.extract.video_parts", broken)
    assert mine(tmp_path, "--no_isolate_decoder") == 1
    (line,) = capfd.readouterr().err.splitlines()
    # Two threads of the worker may come to it at once.
    assert re.search(r"on (\d+) of the first 2\d inputs", line)
    assert "ZeroDivisionError: a bug of ours" in line
    canary.reset()
    assert mine(tmp_path, "--no_isolate_decoder", "--max_failed_share=1") == 1
    assert not Run.open(tmp_path / "run").manifest.files_of("clips")[0].records
