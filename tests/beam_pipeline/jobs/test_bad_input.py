"""Bad input through the whole job: a clear reason, and nothing else is lost.

Each video shows a scene of its own, and there is a seed of each scene: what could be
used of a file shows in its pairs.
"""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_pipeline.mine import run
from clipseed.run import accounting as c
from clipseed.run.clip_record import decode
from clipseed.run.reader import Run
from clipseed.run.tfrecord import read_records
from tests.support.made_bad_files import (
    IMAGES,
    TRICKY,
    VIDEOS,
    write_corpus,
    write_heavy,
    write_playlist,
)
from tests.support.made_media import film, still, write_video
from tests.support.mined import TWO_WORKERS, mine, mining_flags, pairs


class Outcome:
    """A finished run, read back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        run = Run.open(directory, verify="checksums")
        self.counts, self.accounting = run.mining.counts, run.mining.accounting
        self.reasons: dict[str, list[str]] = {}
        self.messages: dict[str, str] = {}
        for dead_letter in run.dead_letters():
            assert dead_letter.message
            key = dead_letter.key.partition("@")[0]
            self.reasons.setdefault(key, []).append(dead_letter.reason)
            self.messages[key] = dead_letter.message
        self.pairs = pairs(directory)

    def of(self, caption: str) -> list[dict[str, Any]]:
        return [pair for pair in self.pairs if pair["caption"] == caption]

    def assert_balanced(self) -> None:
        for stage in self.accounting:
            assert stage.inputs == stage.outputs + sum(stage.dropped.values()), stage


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bad")
    write_corpus(root)
    return root


@pytest.fixture(scope="module")
def outcome(root: Path) -> Outcome:
    places = {"seeds": "seeds", "videos": "videos.csv"}
    return Outcome(mine(root, root / "run", *TWO_WORKERS, **places))


# --- tests ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIDEOS)
def test_video(outcome: Outcome, name: str) -> None:
    _, reason, is_used = VIDEOS[name]
    assert set(outcome.reasons.get(name, [])) == ({reason} if reason else set())
    found = {pair["video"] for pair in outcome.of(f"scene of {name}")}
    assert found == ({name} if is_used else set())


def test_what_precedes_the_damage_is_used_and_no_more(outcome: Outcome) -> None:
    (pair,) = outcome.of("scene of corrupt_from_2.mp4")
    assert pair["time_us"] == 1_000_000
    assert pair["start_us"] == 0 and 1_900_000 <= pair["end_us"] <= 2_100_000
    assert not outcome.of("what came after the damage")


def test_sizes_that_change_are_followed(outcome: Outcome) -> None:
    (pair,) = outcome.of("scene of changing_size.h264")
    assert pair["time_us"] >= 2_000_000


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("good_a.mp4", "ok"),
        ("good_b.webm", "none"),
        ("channels_20.mkv", "ok"),
        ("broken_sound.mp4", "broken"),
    ],
)
def test_sound_is_judged_and_the_verdict_kept(
    outcome: Outcome, name: str, verdict: str
) -> None:
    assert {p["sound"] for p in outcome.pairs if p["video"] == name} == {verdict}
    assert outcome.counts[c.clips_with_sound(verdict)]


@pytest.mark.parametrize("name", IMAGES)
def test_image(outcome: Outcome, name: str) -> None:
    _, reason = IMAGES[name]
    assert outcome.reasons.get(name, []) == ([reason] if reason else [])
    found = [pair["video"] for pair in outcome.of(f"image {name}")]
    assert found == ([] if reason else ["good_a.mp4"])


def test_captions_and_rows(outcome: Outcome, root: Path) -> None:
    table = root / "seeds" / "table.csv"
    last = 1 + len(VIDEOS) + len(IMAGES) + 1
    reasons = {
        key.removeprefix(f"{table}:"): value
        for key, value in outcome.reasons.items()
        if key.startswith(str(table))
    }
    assert sorted(reasons.values()) == [["missing_image"], ["not_utf8"]], reasons
    assert len(reasons) == 2 and min(int(n) for n in reasons) > last
    assert outcome.reasons["good_a.mp4.png"] == ["empty_caption"]
    assert outcome.of("the last row")
    assert outcome.reasons[str(root / "seeds" / "wrong.csv")] == ["missing_column"]
    (row_without_path,) = [k for k in outcome.reasons if "videos.csv" in k]
    assert outcome.reasons[row_without_path] == ["missing_path"]


def test_a_caption_is_kept_byte_for_byte(outcome: Outcome) -> None:
    with (outcome.directory / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [r[0] for r in rows if r[3] == TRICKY] == ["good_b.webm"]
    assert len(rows) == len(outcome.pairs)
    kept = [
        caption.text
        for file in sorted((outcome.directory / "clips").iterdir())
        for data in read_records(str(file))
        for caption in decode(data).captions
    ]
    assert sorted(kept) == sorted(row[3] for row in rows) and TRICKY in kept


def test_accounting_balances(outcome: Outcome) -> None:
    outcome.assert_balanced()
    counts = outcome.counts
    failed = {n for n, (_, reason, used) in VIDEOS.items() if reason and not used}
    assert counts[c.VIDEOS] == len(VIDEOS)
    assert counts[c.VIDEOS_FAILED] == len(failed)
    assert counts[c.VIDEOS_MINED] == len(VIDEOS) - len(failed)
    assert counts[c.VIDEOS_BROKEN] == 2


# --- decoders that hang --------------------------------------------------------------

LIMIT_S = 0.5


def test_decoders_that_hang_are_ended(tmp_path: Path) -> None:
    write_heavy(tmp_path / "heavy.webm")
    write_playlist(tmp_path / "endless.m3u8")
    write_video(tmp_path / "good.mp4", film(1, 1, width=96, height=72))
    names = ("heavy.webm", "endless.m3u8", "good.mp4")
    (tmp_path / "videos.csv").write_text("video\n" + "\n".join(names) + "\n")
    Image.fromarray(still(1)).save(tmp_path / "good.png")
    (tmp_path / "seeds.csv").write_text("image,caption\ngood.png,good\n")
    flags = (f"--video_timeout_s={LIMIT_S}", "--clip_fps=5")
    outcome = Outcome(mine(tmp_path, tmp_path / "run", *flags, videos="videos.csv"))
    assert outcome.reasons == {
        "heavy.webm": ["decode_timeout"],
        "endless.m3u8": ["not_a_video"],
    }
    assert "took longer" in outcome.messages["heavy.webm"]
    assert [pair["video"] for pair in outcome.of("good")] == ["good.mp4"]
    outcome.assert_balanced()


# --- jobs that cannot start, or fail -------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a corpus of one good seed and one good video."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", film(1, 1, width=96, height=72))
    Image.fromarray(still(1)).save(tmp_path / "a.png")
    (tmp_path / "seeds.csv").write_text("image,caption\na.png,a scene\n")
    return tmp_path


def attempt(corpus: Path, *flags: str, seeds: str = "seeds.csv") -> int:
    """Mine to `run`, next to the corpus; return the exit status."""
    try:
        return run(mining_flags(corpus, corpus / "run", *flags, seeds=seeds))
    except SystemExit as ended:  # of flags that are wrong by themselves
        return int(ended.code or 0)


def tree(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_another_run_is_not_touched_unless_told(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = mine(small, small / "run", "--clip_fps=5")
    before = tree(output)
    assert attempt(small) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert tree(output) == before
    mine(small, output, "--clip_fps=10", "--overwrite")
    assert Run.open(output).mining.config["clip_fps"] == 10


def test_an_output_with_other_files_is_refused(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = small / "run"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    for flags in ((), ("--overwrite",)):
        assert attempt(small, *flags) == 2
        assert "other files" in capsys.readouterr().err
    assert tree(output) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("name", ["resnet", "hub:", "hub:nowhere/at/all"])
def test_an_embedder_that_cannot_be_loaded(
    small: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert attempt(small, f"--embedder={name}") == 2
    assert "--embedder" in capsys.readouterr().err
    assert not (small / "run").exists()


@pytest.mark.parametrize(
    ("dimension", "embedder", "complaint"),
    [(7, "descriptor-v1", "dimension 7"), (816, "another", "made by another")],
)
def test_embeddings_that_do_not_fit_the_embedder(
    small: Path,
    capsys: pytest.CaptureFixture[str],
    dimension: int,
    embedder: str,
    complaint: str,
) -> None:
    columns = {"image": ["a"], "caption": ["b"], "embedding": [[1.0] * dimension]}
    table = pa.table(columns | {"embedder": [embedder]})
    pq.write_table(table, small / "seeds.parquet")
    assert attempt(small, seeds="seeds.parquet") == 2
    assert complaint in capsys.readouterr().err
    assert not (small / "run").exists()


@pytest.mark.parametrize("which", ["videos", "seeds", "columns"])
def test_a_job_in_which_everything_failed(
    small: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    if which == "videos":
        (small / "videos" / "a.mp4").write_text("no video")
    elif which == "seeds":
        (small / "a.png").write_text("no image")
    else:
        (small / "seeds.csv").write_text("picture,words\na.png,a scene\n")
    assert attempt(small) == 1
    said = {"videos": "no video could be decoded"}.get(which, "no seed could be used")
    assert said in capsys.readouterr().err
    outcome = Outcome(small / "run")
    assert len(outcome.reasons) == 1
    outcome.assert_balanced()
