"""A killed job resumes where it was, and ends with the bytes of one never disturbed."""

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_pipeline.mine import run
from clipseed.run import accounting as c
from clipseed.run.accounting import PARTS as COUNTED_PARTS
from clipseed.run.accounting import PARTS_REUSED, Counter
from clipseed.run.reader import Run
from tests.support.killed_jobs import kill_when
from tests.support.made_media import corrupt_from, film, still, tone, write_video
from tests.support.mined import ONE_WORKER, mine, mining_flags

SCENES = (1, 2, 3, 4)
PARTS = 4 * 4 + 1
Point = Callable[[Path], bool]
KEYINT = {"x264-params": "keyint=10:scenecut=0"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four films of 12 s with sound, one of them damaged, and one file that is none."""
    root = tmp_path_factory.mktemp("made")
    (root / "videos").mkdir()
    rows = []
    for scene in SCENES:
        path = root / "videos" / f"{scene}.mp4"
        write_video(path, film(scene, 12), sound=tone(12), options=KEYINT)
        Image.fromarray(still(scene)).save(root / f"{scene}.png")
        rows.append((f"{scene}.png", f"scene {scene}"))
    corrupt_from(root / "videos" / "4.mp4", 7.0)
    write_video(root / "videos" / "short.mp4", film(9, 2))
    (root / "videos" / "text.mp4").write_text("no video")
    for name, chosen in (("seeds", rows), ("others", rows[1:2])):
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("image", "caption"), *chosen])
    return root


SETTINGS = ("--num_shards=2", "--part_s=3", "--as_of=2025-01-02", "--min_gap_s=0",
            "--min_similarity=0.3", "--clip_fps=12")  # fmt: skip


def flags(corpus: Path, output: Path, *more: str, **places: str) -> list[str]:
    return mining_flags(corpus, output, *more, settings=SETTINGS, **places)


def mine_to(corpus: Path, output: Path, *more: str) -> Path:
    return mine(corpus, output, *more, settings=(*SETTINGS, *ONE_WORKER))


@pytest.fixture(scope="module")
def whole(corpus: Path) -> Path:
    """Return a run that nothing disturbed."""
    return mine_to(corpus, corpus / "whole")


def result(run_dir: Path) -> dict[str, bytes]:
    """Return every file that `run.json` lists."""
    return {
        file.path: (run_dir / file.path).read_bytes()
        for file in Run.open(run_dir, verify="checksums").manifest.files
    }


def counts(run_dir: Path) -> dict[Counter, int]:
    """Return the sums of a run but for where the frames came from."""
    mining = Run.open(run_dir).mining
    assert all(stage.balanced for stage in mining.accounting)
    return {k: n for k, n in mining.counts.sums.items() if k != PARTS_REUSED}


def parts_reused(run_dir: Path) -> int:
    return Run.open(run_dir).mining.counts[PARTS_REUSED]


def whole_parts(run_dir: Path) -> int:
    """Return how many video parts are stored with all their chunks."""
    count = 0
    for file in run_dir.glob("work/frames/*/*.part"):
        lengths = json.loads(file.read_bytes()[32:])["lengths"]  # behind its SHA-256
        names = (f"{file.stem}-{i:04d}.chunk" for i in range(len(lengths)))
        count += all((file.parent / name).exists() for name in names)
    return count


# --- the points at which jobs are killed ---------------------------------------------


def after_a_part(run_dir: Path) -> bool:
    return whole_parts(run_dir) > 0


def after_half_the_parts(run_dir: Path) -> bool:
    return whole_parts(run_dir) > PARTS // 2


def after_the_matches(run_dir: Path) -> bool:
    return len(list(run_dir.glob("matches/*.parquet"))) == 2


def while_cutting(run_dir: Path) -> bool:
    return any(run_dir.glob("clips/.*.tmp"))


def kill_and_finish(corpus: Path, output: Path, *points: Point) -> None:
    """Kill one attempt after the other; the last one resumes from there."""
    kept = 0
    for point in points:
        kill_when(partial(point, output), flags(corpus, output))
        assert not (output / "run.json").exists()
        assert whole_parts(output) >= max(kept, 1)
        kept = whole_parts(output)
    mine_to(corpus, output)
    assert parts_reused(output) == kept


def assert_undisturbed(output: Path, whole: Path) -> None:
    assert result(output) == result(whole)
    assert counts(output) == counts(whole)
    assert not list(output.rglob("*.tmp"))
    assert {p.name for p in (output / "work").iterdir()} == {"frames"}


def test_a_killed_job_goes_on_to_the_same_bytes(
    corpus: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    kill_and_finish(corpus, output, after_half_the_parts)
    assert "resuming with what was kept: " in capsys.readouterr().err
    assert_undisturbed(output, whole)


@pytest.mark.ci_only
@pytest.mark.parametrize("point", [after_a_part, after_the_matches, while_cutting])
def test_a_job_may_be_killed_at_any_point(
    corpus: Path, whole: Path, tmp_path: Path, point: Point
) -> None:
    kill_and_finish(corpus, tmp_path / "run", point)
    assert_undisturbed(tmp_path / "run", whole)


@pytest.mark.ci_only
def test_a_job_may_be_killed_again(corpus: Path, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    kill_and_finish(corpus, output, after_a_part, after_half_the_parts, while_cutting)
    assert_undisturbed(output, whole)


# --- other seeds, another threshold --------------------------------------------------


def matches(run_dir: Path) -> list[dict[str, Any]]:
    files = sorted((run_dir / "matches").iterdir())
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@contextlib.contextmanager
def unreadable(folder: Path) -> Iterator[None]:
    """Yield films that cannot be decoded, of the same sizes and times of change."""
    originals = {path: path.read_bytes() for path in folder.glob("*.mp4")}
    times = {path: path.stat().st_mtime_ns for path in originals}
    try:
        for path, data in originals.items():
            path.write_bytes(bytes(len(data)))
            os.utime(path, ns=(times[path], times[path]))
        yield
    finally:
        for path, data in originals.items():
            path.write_bytes(data)
            os.utime(path, ns=(times[path], times[path]))


def test_other_seeds_and_another_threshold_need_no_frame(
    corpus: Path, whole: Path, tmp_path: Path
) -> None:
    assert (parts_reused(whole), counts(whole)[COUNTED_PARTS]) == (0, PARTS)
    again = tmp_path / "again"
    more = (
        "--threshold=0.5",
        "--no_keep_embeddings",
        f"--reuse_embeddings_from={whole}",
    )
    with unreadable(corpus / "videos"):
        assert run(flags(corpus, again, *more, seeds="others.csv")) == 1  # no clip
    assert parts_reused(again) == counts(again)[COUNTED_PARTS] == PARTS
    unreadable_clips = c.dead_letters("write_clips", "not_a_video")
    assert counts(again)[unreadable_clips] == counts(again)[c.CUTS] > 0
    for counter in (c.FRAMES, c.VIDEOS_MINED, c.VIDEOS_BROKEN):
        assert counts(again)[counter] == counts(whole)[counter] > 0
    found = [{**row, "rank": None} for row in matches(again)]
    seeds = {row["seed_id"] for row in found}
    assert len(seeds) == 1 and len(found) > 3
    assert found == [
        {**row, "rank": None}
        for row in matches(whole)
        if row["seed_id"] in seeds and row["similarity"] > 0.5
    ]
    assert not (again / "work").exists()


@pytest.mark.ci_only
def test_a_video_that_changed_is_decoded_again(
    corpus: Path, whole: Path, tmp_path: Path
) -> None:
    path = corpus / "videos" / "short.mp4"
    data = path.read_bytes()
    write_video(path, np.concatenate([film(2, 1), film(3, 3)]))
    try:
        again = mine_to(corpus, tmp_path / "again", f"--reuse_embeddings_from={whole}")
        assert parts_reused(again) == PARTS - 1
        assert counts(again)[COUNTED_PARTS] == PARTS + 1
        fresh = mine_to(corpus, tmp_path / "fresh")
    finally:
        path.write_bytes(data)
    assert result(again) == result(fresh)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            ["--sample_fps=2"],
            "was mined with --sample_fps=1.0, not 2.0: give the same here",
        ),
        (["--sampling=keyframe"], "was mined with --sampling=exact, not keyframe"),
        (["--part_s=4"], "was mined with --part_s=3.0, not 4.0"),
    ],
)
def test_embeddings_of_other_frames_are_refused(
    corpus: Path,
    whole: Path,
    tmp_path: Path,
    more: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "run"
    assert run(flags(corpus, output, f"--reuse_embeddings_from={whole}", *more)) == 2
    assert f"--reuse_embeddings_from {whole} {problem}" in capsys.readouterr().err
    assert not output.exists()


def test_a_run_that_kept_nothing_is_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(flags(corpus, tmp_path / "run", f"--reuse_embeddings_from={tmp_path}")) == 2
    )
    assert "no embeddings are kept there; name a run" in capsys.readouterr().err
