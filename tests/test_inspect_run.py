import csv
from pathlib import Path

import pytest
from PIL import Image

from beam_pipeline import inspect_run, mine
from beam_pipeline.contact_sheet import frame_picks
from beam_pipeline.demo.corpus import AS_OF, FILMS, render_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    render_corpus(directory, films=FILMS[:1], absent_seeds=1)
    with (directory / "seeds.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    rows[0][1] = 'a "quoted"\ncaption, ünïcödé 漢字 \t' + "long " * 60
    with (directory / "seeds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return directory


@pytest.fixture
def run_dir(corpus: Path, tmp_path: Path) -> Path:
    output = tmp_path / "run"
    flags = [f"--seeds={corpus / 'seeds.csv'}", f"--videos={corpus / 'videos.csv'}"]
    more = [f"--output={output}", f"--as_of={AS_OF}", "--num_shards=2"]
    assert mine.run([*flags, *more]) == 0
    return output


def test_prints_and_draws_what_a_run_holds(
    run_dir: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert inspect_run.run([str(run_dir), "--verify", "--examples=3"]) == 0
    said = capsys.readouterr().out
    assert "pairs" in said and "ünïcödé 漢字" in said and "not_a_video" in said
    with Image.open(run_dir / "contact_sheet.png") as sheet:
        assert sheet.height == 2 * 136  # there are two pairs
        with_seed = sheet.convert("RGB").crop((8, 8, 178, 128))
    for image in (corpus / "seeds").iterdir():
        image.rename(image.with_suffix(".gone"))
    try:
        assert inspect_run.run([str(run_dir), "--examples=3"]) == 0
    finally:
        for image in (corpus / "seeds").iterdir():
            image.rename(image.with_suffix(".jpg"))
    with Image.open(run_dir / "contact_sheet.png") as sheet:
        without = sheet.convert("RGB").crop((8, 8, 178, 128))
    assert with_seed.tobytes() != without.tobytes()
    assert (204, 204, 204) in [color for _, color in without.getcolors(1 << 20)]


def test_damage_is_named(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = max((run_dir / "clips").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert inspect_run.run([str(run_dir), "--verify", "--no_sheet"]) == 1
    assert f"{shard.name} has another checksum" in capsys.readouterr().err
    shard.write_bytes(data[:-1])
    assert inspect_run.run([str(run_dir), "--no_sheet"]) == 1
    assert f"{shard.name} has another size" in capsys.readouterr().err
    shard.unlink()
    assert inspect_run.run([str(run_dir), "--no_sheet"]) == 1
    assert shard.name in capsys.readouterr().err


def test_an_unfinished_run_is_refused(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_dir / "run.json").unlink()
    assert inspect_run.run([str(run_dir)]) == 2
    assert "not a finished run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "matched", "picks"),
    [(250, 125, [0, 62, 125, 187, 249]), (250, 240, [0, 62, 124, 187, 240]),
     (2, 1, [0, 1]), (1, 0, [0])],
)  # fmt: skip
def test_the_matched_frame_is_among_the_picks(
    count: int, matched: int, picks: list[int]
) -> None:
    assert frame_picks(count, matched) == picks
