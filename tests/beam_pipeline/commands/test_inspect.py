import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_pipeline import mine
from beam_pipeline.commands import inspect
from beam_pipeline.demo.corpus import AS_OF, FILMS, render_corpus
from beam_pipeline.report import run_tables
from beam_pipeline.report.contact_sheet import HEADER_PX, ROW_PX
from clipseed.io import storage
from clipseed.run.accounting import PAIRS, StageAccount
from clipseed.run.files import describe_file, folder_of
from clipseed.run.reader import Run
from clipseed.run.writer import RunWriter
from tests.support.mined import ONE_WORKER

GRAY, RED = (204, 204, 204), (208, 32, 32)
CAPTION = 'a "quoted"\ncaption, ünïcödé 漢字 \t' + "long " * 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    render_corpus(directory, films=FILMS[:1], absent_seeds=1)
    with (directory / "seeds.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    rows[0][1] = CAPTION
    with (directory / "seeds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return directory


@pytest.fixture(scope="module")
def mined(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mined") / "run"
    flags = [f"--seeds={corpus / 'seeds.csv'}", f"--videos={corpus / 'videos.csv'}"]
    more = [f"--output={output}", f"--as_of={AS_OF}", "--num_shards=2"]
    assert mine.run([*flags, *more, *ONE_WORKER]) == 0
    return output


@pytest.fixture
def run_dir(mined: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mined, tmp_path / "run"))


@pytest.fixture
def seed_files(corpus: Path) -> Iterator[list[Path]]:
    """Yield the seed images of the run's pairs; put back when the test is over."""
    kept = {path: path.read_bytes() for path in sorted((corpus / "seeds").iterdir())}
    yield list(kept)
    for path, data in kept.items():
        path.write_bytes(data)


def seed_cells(run_dir: Path) -> list[set[tuple[int, int, int]]]:
    """Return the colors of each row's seed cell."""
    with Image.open(run_dir / "contact_sheet.png") as sheet:
        rgb = np.array(sheet.convert("RGB"))
    rows = range(HEADER_PX, len(rgb), ROW_PX)
    return [
        set(map(tuple, rgb[top + 8 : top + 136, 8:178].reshape(-1, 3).tolist()))
        for top in rows
    ]


def rewrite(run_dir: Path, path: Path, data: bytes) -> None:
    """Replace a file by one that `run.json` agrees with."""
    path.write_bytes(data)
    manifest = Run.open(run_dir, verify="nothing").manifest
    files = tuple(
        describe_file(str(path), file.path, file.records)
        if run_dir / file.path == path
        else file
        for file in manifest.files
    )
    RunWriter(str(run_dir)).finish(replace(manifest, files=files))


def largest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


# --- a whole run ---------------------------------------------------------------------


def test_prints_what_a_run_holds(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect.run([str(run_dir), "--verify", "--no_sheet"]) == 0
    said = capsys.readouterr().out
    pairs = Run.open(run_dir).mining.counts[PAIRS]
    assert f"   pairs  {pairs}\n" in said
    assert f"pairs, {pairs} of {pairs}\n" in said
    assert "  extract_frames         " in said and "DOES NOT BALANCE" not in said
    assert "not_a_video" in said
    shown = [line for line in said.splitlines() if "ünïcödé 漢字" in line]
    assert 'a "quoted" caption, ünïcödé 漢字 long' in shown[0]
    assert shown[0].endswith("…") and "\t" not in said
    assert not (run_dir / "contact_sheet.png").exists()


def test_an_input_without_a_result_or_a_reason_is_named(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sums still agree: only the join by id shows it."""
    for path in (run_dir / "rejected").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if '"probe"' not in line]
        rewrite(run_dir, path, "".join(kept).encode())
    assert inspect.run([str(run_dir), "--no_sheet"]) == 0
    assert inspect.run([str(run_dir), "--verify", "--no_sheet"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "has no frame and has no dead letter" in said[0]
    assert "1 inputs or results are not accounted for" in said[1]


def test_an_accounting_that_does_not_balance_says_so() -> None:
    block = run_tables.accounting([StageAccount("embed", 3, 1, {"a": 1, "b": 0})])
    assert block.plain.splitlines()[1].split() == (
        ["embed", "3", "1", "1", "a", "(DOES", "NOT", "BALANCE)"]
    )


def test_draws_a_row_a_pair(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect.run([str(run_dir), "--examples=1"]) == 0
    assert "contact sheet" in capsys.readouterr().out
    assert len(seed_cells(run_dir)) == 1
    other = run_dir.parent / "sheets" / "sheet.png"
    assert inspect.run([str(run_dir), "--examples=9", f"--sheet={other}"]) == 0
    with Image.open(other) as sheet:
        assert sheet.height == HEADER_PX + 2 * ROW_PX  # there are two pairs
        rgb = np.array(sheet.convert("RGB"))
    for top in (HEADER_PX, HEADER_PX + ROW_PX):
        assert (rgb[top : top + ROW_PX] == RED).all(axis=2).any()


def test_a_run_in_a_bucket_is_drawn_here(
    run_dir: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = f"{bucket}/run"
    for path in run_dir.rglob("*.*"):
        uri = f"{remote}/{path.relative_to(run_dir)}"
        storage.write_bytes(uri, path.read_bytes())
    assert inspect.run([remote, "--verify"]) == 0
    assert "name a local file with --sheet" in capsys.readouterr().out
    assert inspect.run([remote, f"--sheet={tmp_path / 'sheet.png'}"]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    assert not storage.exists(f"{remote}/contact_sheet.png")
    storage.remove_tree(f"{remote}/pairs.csv")
    assert inspect.run([remote]) == 1
    assert "pairs.csv does not exist" in capsys.readouterr().err


# --- seed images ---------------------------------------------------------------------


def test_a_seed_image_that_is_gone_leaves_a_gray_box(
    run_dir: Path, seed_files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect.run([str(run_dir)]) == 0
    assert [GRAY in cell for cell in seed_cells(run_dir)] == [False, False]
    assert capsys.readouterr().err == ""
    for gone in seed_files:
        gone.unlink()
    assert inspect.run([str(run_dir)]) == 0
    assert [GRAY in cell for cell in seed_cells(run_dir)] == [True, True]
    assert "does not exist" in capsys.readouterr().err


def test_one_bad_seed_image_costs_no_other(
    run_dir: Path,
    corpus: Path,
    seed_files: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (corpus / "seeds.csv").open(newline="") as file:
        first = next(row["image"] for row in csv.DictReader(file))
    bad = corpus / first
    other = next(path for path in seed_files if path != bad)
    bad.write_bytes(other.read_bytes())
    assert inspect.run([str(run_dir)]) == 0
    assert sorted(GRAY in cell for cell in seed_cells(run_dir)) == [False, True]
    assert f"{first}: {bad} has changed since the run" in capsys.readouterr().err


def test_seeds_that_are_gone_leave_gray_boxes(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Run.open(run_dir).manifest
    assert manifest.mining is not None
    config = {**manifest.mining.config, "seeds": str(run_dir / "no_seeds.csv")}
    mining = replace(manifest.mining, config=config)
    RunWriter(str(run_dir)).finish(replace(manifest, mining=mining))
    assert inspect.run([str(run_dir)]) == 0
    assert [GRAY in cell for cell in seed_cells(run_dir)] == [True, True]
    assert "the seeds cannot be read any more" in capsys.readouterr().err


# --- damage --------------------------------------------------------------------------


def test_damage_is_named(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = largest(run_dir / "clips")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert inspect.run([str(run_dir), "--no_sheet"]) == 0
    assert inspect.run([str(run_dir), "--verify", "--no_sheet"]) == 1
    assert f"{shard.name} has another checksum" in capsys.readouterr().err
    shard.write_bytes(data[:-1])
    assert inspect.run([str(run_dir), "--no_sheet"]) == 1
    assert f"{shard.name} has another size" in capsys.readouterr().err
    shard.unlink()
    assert inspect.run([str(run_dir), "--no_sheet"]) == 1
    said = capsys.readouterr().err
    assert f"{shard.name} does not exist" in said
    # 4 tables of 2, pairs.csv, and the index: vectors, ids, manifest
    assert "1 of 16 files are missing or damaged" in said


def test_damage_of_the_index_is_named(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = {
        file.path: file.records
        for file in Run.open(run_dir).manifest.files
        if folder_of(file) == "index"
    }
    seeds = len((run_dir / "index" / "ids.txt").read_text().splitlines())
    assert listed == {
        "index/ids.txt": seeds,
        "index/manifest.json": 0,
        "index/vectors.npy": seeds,
    }
    vectors = run_dir / "index" / "vectors.npy"
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.write_bytes(data)
    assert inspect.run([str(run_dir), "--verify", "--no_sheet"]) == 1
    said = capsys.readouterr().err
    assert "vectors.npy has another checksum" in said
    assert "1 of 16 files are missing or damaged" in said


def test_damage_met_while_drawing_is_told(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = largest(run_dir / "clips")
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data)
    assert inspect.run([str(run_dir)]) == 1
    assert f"{shard.name} is damaged" in capsys.readouterr().err
    rewrite(run_dir, shard, b"")
    assert inspect.run([str(run_dir)]) == 1
    assert f"{shard.name} lacks clip" in capsys.readouterr().err
    assert not (run_dir / "contact_sheet.png").exists()


@pytest.mark.parametrize("folder", ["pairs", "rejected"])
def test_a_table_of_rubbish_is_told(
    run_dir: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = largest(run_dir / folder)
    rewrite(run_dir, table, b"\xff rubbish")
    assert inspect.run([str(run_dir), "--no_sheet"]) == 1
    assert f"{table.name} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "does not exist"),
        (b'{"format": ', "its run.json is damaged"),
        (b"\xff", "its run.json is damaged"),
        (b"[]", "of format clipseed-run/3"),
        (b'{"format": "clipseed-run/1"}', "of format clipseed-run/3"),
    ],
)
def test_an_unfinished_run_is_refused(
    tmp_path: Path,
    content: bytes | None,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    assert inspect.run([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path} is not a finished run" in said and why in said


@pytest.mark.parametrize("count", ["0", "-1", "201", "many"])
def test_a_wrong_number_of_examples_is_refused(tmp_path: Path, count: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        inspect.run([str(tmp_path), f"--examples={count}"])
    assert stopped.value.code == 2


def test_a_sheet_that_cannot_be_written_is_told(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = run_dir / "run.json" / "sheet.png"
    assert inspect.run([str(run_dir), f"--sheet={sheet}"]) == 1
    assert "the contact sheet cannot be written" in capsys.readouterr().err
