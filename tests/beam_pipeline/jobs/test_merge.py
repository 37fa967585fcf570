"""A run merged with a base run is, byte for byte, one run over all videos."""

import csv
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beam_pipeline.commands.inspect import run as inspect
from beam_pipeline.mine import run
from clipseed.elements import Match, Video
from clipseed.run import accounting as c
from clipseed.run.reader import Run
from tests.support import mined
from tests.support.made_media import corrupt_from, film, still, tone, write_video
from tests.support.mined import SMALL, mining_flags
from transforms.matches.select import Selection, order, select_matches
from transforms.run.merge import SEEDS_DIFFER

KEYINT = {"x264-params": "keyint=10:scenecut=0"}
# By manifest; a video of the first is in the last again.
OLD, MIDDLE, NEW = ("early", "mute", "text"), ("broken",), ("late", "short", "early")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return films of which the new ones show the seeds better than the old ones.

    Two images share a caption, so that of a clip's matches one has none of its own.
    """
    root = tmp_path_factory.mktemp("made")
    whole = film(1, 18)
    write_video(root / "early.mp4", whole[:150], sound=tone(6))
    write_video(root / "mute.mp4", np.concatenate([film(2, 6), whole[:150]]))
    write_video(root / "broken.mp4", film(2, 12), sound=tone(12), options=KEYINT)
    corrupt_from(root / "broken.mp4", 8.0)
    write_video(root / "late.mp4", whole[250:], sound=tone(8))
    write_video(root / "short.mp4", film(2, 4)[50:], sound=tone(2))
    (root / "text.mp4").write_text("no video")
    names = {"old": OLD, "middle": MIDDLE, "new": NEW, "later": MIDDLE + NEW}
    for name, videos in {**names, "all": OLD + MIDDLE + NEW}.items():
        write_table(root / f"{name}.csv", ["video"], [[f"{v}.mp4"] for v in videos])
    Image.fromarray(still(1)).save(root / "1.png")
    Image.fromarray(still(1)[4:, 6:]).save(root / "1b.png")
    Image.fromarray(still(2)).save(root / "2.png")
    rows = [("1.png", "one"), ("1b.png", "one"), ("1b.png", "again"), ("2.png", "two")]
    write_table(root / "seeds.csv", ["image", "caption"], rows)
    write_table(root / "fewer.csv", ["image", "caption"], rows[:3])
    return root


def write_table(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


SETTINGS = (*SMALL, "--top_k=2", "--min_similarity=0.4", "--clip_fps=5")
flags = partial(mining_flags, settings=SETTINGS)
mine = partial(mined.mine, settings=SETTINGS)


@pytest.fixture(scope="module")
def old(corpus: Path) -> Path:
    return mine(corpus, corpus / "old_run", "--require_sound", videos="old.csv")


def contents(run_dir: Path, folder: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((run_dir / folder).iterdir())}


def facts(run_dir: Path) -> tuple[c.Counts, Any, int]:
    """Return what `run.json` says of the result and not of how it came about."""
    mining = Run.open(run_dir).mining
    assert all(stage.balanced for stage in mining.accounting)
    sums = {k: n for k, n in mining.counts.sums.items() if n and k != c.PARTS_REUSED}
    return c.Counts(sums), mining.accounting, mining.seeds_fingerprint


def assert_same_result(merged: Path, whole: Path) -> None:
    assert (merged / "pairs.csv").read_bytes() == (whole / "pairs.csv").read_bytes()
    for folder in ("clips", "rejected"):
        assert contents(merged, folder) == contents(whole, folder)
    assert mined.matches(merged) == mined.matches(whole)
    assert mined.pairs(merged) == mined.pairs(whole)
    one, other = Run.open(merged), Run.open(whole)
    assert list(one.videos()) == list(other.videos())
    assert list(one.seeds()) == list(other.seeds())
    assert facts(merged) == facts(whole)
    assert inspect([str(merged), "--verify", "--no_sheet"]) == 0


def chosen(run_dir: Path) -> set[tuple[str, str, int]]:
    return {
        (row["seed_id"], row["video"], row["time_us"])
        for row in mined.matches(run_dir)
        if row["rank"]
    }


def without(corpus: Path, videos: Sequence[str], *run_flags: str) -> int:
    """Run while some videos are not there."""
    for video in videos:
        (corpus / f"{video}.mp4").rename(corpus / f"{video}.away")
    try:
        return run(list(run_flags))
    finally:
        for video in videos:
            (corpus / f"{video}.away").rename(corpus / f"{video}.mp4")


def test_a_merged_run_is_one_run_over_all_videos(
    corpus: Path, old: Path, tmp_path: Path
) -> None:
    whole = mine(corpus, tmp_path / "whole", "--require_sound", videos="all.csv")
    merged = tmp_path / "merged"
    more = ("--require_sound", f"--merge_with={old}")
    assert without(corpus, OLD, *flags(corpus, merged, *more, videos="later.csv")) == 0
    assert_same_result(merged, whole)
    # It was no easy case: some of the old were displaced, some stayed, some failed.
    stayed = chosen(merged) & chosen(old)
    assert stayed and chosen(old) - stayed and chosen(merged) - stayed
    counts, _, _ = facts(merged)
    assert counts[c.dead_letters("write_clips", "sound_none")] > 0
    assert counts[c.dead_letters("list_videos", "duplicate_video")] == 1
    assert counts[c.VIDEOS] == 6 and counts[c.VIDEOS_FAILED] == 1


@pytest.mark.ci_only
@pytest.mark.parametrize("gap", ["--min_gap_s=0", "--min_gap_s=3"])
def test_merging_twice_is_merging_once(corpus: Path, tmp_path: Path, gap: str) -> None:
    whole = mine(corpus, tmp_path / "whole", gap, videos="all.csv")
    first = mine(corpus, tmp_path / "first", gap, videos="old.csv")
    more = (gap, f"--merge_with={first}")
    second = tmp_path / "second"
    assert without(corpus, OLD, *flags(corpus, second, *more, videos="middle.csv")) == 0
    more = (gap, f"--merge_with={second}")
    third = tmp_path / "third"
    assert (
        without(corpus, OLD + MIDDLE, *flags(corpus, third, *more, videos="new.csv"))
        == 0
    )
    assert_same_result(third, whole)


@pytest.mark.parametrize("min_gap_us", [0, 1, 3, 10])
def test_new_videos_only_displace(min_gap_us: int) -> None:
    """What the top holds of the old videos, the top of the old ones alone held."""
    rng = np.random.default_rng(min_gap_us)
    displaced = 0
    for _ in range(200):
        matches = [
            Match("seed", int(rng.integers(8)) / 8, Video(f"{v}", f"{v}", ""), t)
            for v, t in itertools.product(range(6), range(12))
            if rng.random() < 0.5
        ]
        base = {match for match in matches if int(match.video.video_id) % 2}
        selection = Selection(-1.0, 5, min_gap_us)
        then = select_matches(base, selection)
        now = select_matches(matches, selection)
        stay = [match for match in now if match in base]
        assert stay == then[: len(stay)] == sorted(stay, key=order)
        displaced += len(then) - len(stay)
    assert displaced > 100


# --- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("--sample_fps=2", "it was mined with --sample_fps=1.0, not 2.0"),
        ("--sampling=keyframe", "it was mined with --sampling=exact, not keyframe"),
        ("--clip_s=5 --min_gap_s=10", "it was mined with --clip_s=10.0, not 5.0"),
        ("--clip_fps=6", "it was mined with --clip_fps=5.0, not 6.0"),
        ("--num_shards=3", "it was mined with --num_shards=2, not 3"),
        ("--min_gap_s=2", "it was mined with --min_gap_s=10.0, not 2"),
        ("--top_k=3", "it has no clips beyond the best 2; lower --top_k"),
        ("--threshold=0.5", "it has no clips below 0.6; raise --threshold"),
        ("--min_similarity=0.3", "it has no matches below 0.4; raise --min_similarity"),
    ],
)
def test_what_was_mined_otherwise_is_refused(
    corpus: Path,
    old: Path,
    tmp_path: Path,
    more: str,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "run"
    merge = ("--require_sound", f"--merge_with={old}", *more.split())
    assert run(flags(corpus, output, *merge, videos="new.csv")) == 2
    assert f"--merge_with {old}: {problem}\n" in capsys.readouterr().err
    assert not output.exists()


def test_sound_must_have_been_required_alike(
    corpus: Path, old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(flags(corpus, tmp_path / "run", f"--merge_with={old}", videos="new.csv"))
        == 2
    )
    assert "with --require_sound=True, not False" in capsys.readouterr().err


def test_other_seeds_are_refused_before_a_frame_is_decoded(
    corpus: Path, old: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    merge = ("--require_sound", f"--merge_with={old}")
    other = f"--seeds={corpus / 'fewer.csv'}"
    with pytest.raises(SystemExit) as ended:
        run([*flags(corpus, output, *merge, videos="new.csv"), other])
    assert ended.value.code == 2
    told = capfd.readouterr().err.splitlines()[-1]
    assert told == (
        f"clipseed mine: --merge_with {old}: {SEEDS_DIFFER}: "
        "mine with the same --seeds, or without --merge_with"
    )
    assert not list(output.rglob("*.part")) and not (output / "run.json").exists()


def test_a_run_that_is_not_whole_is_refused(
    corpus: Path, old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "copy"
    (again / "clips").mkdir(parents=True)
    merge = ("--require_sound", f"--merge_with={again}")
    assert run(flags(corpus, tmp_path / "run", *merge, videos="new.csv")) == 2
    assert f"{again} is not a finished run" in capsys.readouterr().err
    (again / "run.json").write_bytes((old / "run.json").read_bytes())
    assert run(flags(corpus, tmp_path / "run", *merge, videos="new.csv")) == 2
    assert "does not exist" in capsys.readouterr().err
    same = flags(corpus, old, f"--merge_with={old}/", "--overwrite", videos="new.csv")
    with pytest.raises(SystemExit):
        run(same)
    assert "the base run stays as it is" in capsys.readouterr().err
