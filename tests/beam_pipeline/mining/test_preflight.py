"""What is refused before any work starts, and what a new run may replace."""

import dataclasses
import datetime
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.mining import preflight
from beam_pipeline.mining.config import MineConfig, parse_mine
from clipseed.errors import InputError
from clipseed.io import storage
from models.embedders.descriptor import DIMENSION, EMBEDDER_ID
from models.embedders.registry import load_embedder
from models.pretrained.resizing import squeeze

ANOTHER_RUN = "holds another run: choose another directory, or replace it"


def config(
    embedder: str = "descriptor", *more: str, output: object = "o"
) -> MineConfig:
    needed = ["--seeds=s", "--videos=v", f"--output={output}"]
    return parse_mine([*needed, f"--embedder={embedder}", *more])[0]


def prepare(output: object, *more: str) -> str:
    return preflight.prepare_output(config("descriptor", *more, output=output))


def fill(root: str | Path, *names: str) -> None:
    for name in names:
        storage.write_bytes(f"{root}/{name}", b"x")


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def seeds_table(path: Path, dimension: int, embedder: str | None) -> str:
    vectors = np.eye(2, dimension, dtype=np.float32)
    column = pa.FixedSizeListArray.from_arrays(vectors.ravel(), dimension)
    table = pa.table({"image": ["a", "b"], "caption": ["a", "b"], "embedding": column})
    named = {"embedder": embedder} if embedder else None
    pq.write_table(table.replace_schema_metadata(named), path)
    return str(path)


# --- output --------------------------------------------------------------------------


def test_a_run_is_replaced_as_a_whole_and_nothing_else(root: str) -> None:
    others = ("notes.txt", "clips.txt", "my/pairs/a")
    run = (
        "run.json",
        "pairs.csv",
        "contact_sheet.png",
        *(f"{folder}/a" for folder in ("pairs", "matches", "clips", "rejected")),
        "index/scann/a",
        "work/seeds/a.npz",
    )
    fill(root, *run, *others)
    prepare(root, "--overwrite", "--no_keep_embeddings")
    assert [name for name in run if storage.exists(f"{root}/{name}")] == []
    assert [name for name in others if not storage.exists(f"{root}/{name}")] == []


def test_another_run_is_refused_and_stays(tmp_path: Path) -> None:
    fill(tmp_path, "run.json", "pairs.csv")
    with pytest.raises(preflight.ConfigError, match=ANOTHER_RUN):
        prepare(f"{tmp_path}/")
    assert files(tmp_path) == {"run.json", "pairs.csv"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_refused(tmp_path: Path, overwrite: bool) -> None:
    fill(tmp_path, "thesis.tex", "figures/pairs.csv")
    with pytest.raises(
        preflight.ConfigError, match="holds other files: choose an empt"
    ):
        prepare(tmp_path, *["--overwrite"] * overwrite)
    assert files(tmp_path) == {"thesis.tex", "figures/pairs.csv"}


def test_what_a_broken_run_left_is_replaced_unasked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "work/seeds/a.npz", "clips/a")
    with caplog.at_level(logging.INFO):
        prepare(tmp_path)
    assert files(tmp_path) == {"work/as_of"}
    assert caplog.messages == [f"replacing {tmp_path}/{n}" for n in ("clips", "work")]


@pytest.mark.parametrize("finished", [False, True])
def test_kept_embeddings_stay(root: str, finished: bool) -> None:
    kept = ("work/frames/ab/abc.part", "work/frames/ab/abc-0000.chunk")
    fill(root, *kept, "work/seeds/a.npz", "clips/a", *["run.json"] * finished)
    told = prepare(root, *["--overwrite"] * finished)
    assert told in ("1 parts of videos", f"embeddings in {root}/work/frames")
    assert [name for name in kept if not storage.exists(f"{root}/{name}")] == []
    for name in ("run.json", "work/seeds", "clips"):
        assert not storage.exists(f"{root}/{name}")
    assert prepare(root, "--no_keep_embeddings") == ""
    assert not storage.exists(f"{root}/work/frames")


def test_a_run_that_goes_on_after_midnight_is_still_one_run(root: str) -> None:
    first = config(output=root)
    assert preflight.same_day(first, []) is first
    prepare(root, "--as_of=2025-01-02")
    later = preflight.same_day(first, [])
    assert later == dataclasses.replace(first, as_of=datetime.date(2025, 1, 2))
    assert preflight.same_day(first, ["--as_of=2026-01-01"]) is first
    fill(root, "run.json")  # finished: the next run is another one
    assert preflight.same_day(first, []) is first


def test_a_new_place_is_all_right(tmp_path: Path) -> None:
    prepare(tmp_path / "new")
    assert files(tmp_path) == {"new/work/as_of"}


# --- input ---------------------------------------------------------------------------


def test_seeds_are_listed(tmp_path: Path) -> None:
    fill(tmp_path, "b.csv", "a.tsv", "readme.md")
    found = preflight.check_seeds(str(tmp_path))
    assert found == [str(tmp_path / "a.tsv"), str(tmp_path / "b.csv")]


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_no_seeds_and_no_videos_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    place = str(tmp_path / name)
    with pytest.raises(preflight.ConfigError) as seeds:
        preflight.check_seeds(place)
    assert str(seeds.value).startswith(f"--seeds {place}: ")
    if name == "absent":
        with pytest.raises(preflight.ConfigError) as videos:
            preflight.check_videos(place)
        assert str(videos.value).startswith(f"--videos {place}: ")


def test_videos_may_be_a_folder_a_file_or_a_glob(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp4")
    for place in (tmp_path, tmp_path / "a.mp4", tmp_path / "*.mp4"):
        preflight.check_videos(str(place))
    absent = f"{tmp_path}/*.avi"
    with pytest.raises(preflight.ConfigError) as caught:
        preflight.check_videos(absent)
    assert str(caught.value) == (
        f"--videos {absent}: no file matches {absent}; check the name"
    )


def test_a_video_may_be_a_url_but_a_manifest_may_not() -> None:
    preflight.check_videos("https://host.example/film.mp4")
    with pytest.raises(preflight.ConfigError, match="cannot be read here"):
        preflight.check_videos("https://host.example/corpus.csv")


# --- embedder ------------------------------------------------------------------------


def test_embeddings_of_the_embedder_pass(tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text("image,caption\na,b\n")
    tables = [
        str(tmp_path / "plain.csv"),
        seeds_table(tmp_path / "named.parquet", DIMENSION, EMBEDDER_ID),
        seeds_table(tmp_path / "unnamed.parquet", DIMENSION, None),
    ]
    embedder = preflight.check_embedder(config(), tables)
    assert embedder.embedder_id == EMBEDDER_ID


def test_one_bad_table_among_many_stops_no_job(tmp_path: Path) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 and nothing else PAR1")
    good = seeds_table(tmp_path / "good.parquet", DIMENSION, EMBEDDER_ID)
    assert preflight.check_embedder(config(), [str(bad), good])
    with pytest.raises(InputError) as caught:
        preflight.check_embedder(config(), [str(bad)])
    assert caught.value.reason == "unreadable_table"
    assert "\n" not in caught.value.message


def test_embeddings_of_another_dimension_are_refused(tmp_path: Path) -> None:
    table = seeds_table(tmp_path / "seeds.parquet", 3, EMBEDDER_ID)
    with pytest.raises(preflight.ConfigError) as caught:
        preflight.check_embedder(config(), [table])
    assert str(caught.value) == (
        f"{table} holds embeddings of dimension 3, the embedder {EMBEDDER_ID} makes "
        f"{DIMENSION}: mine with the embedder that made them"
    )


def test_embeddings_of_another_embedder_are_refused(tmp_path: Path) -> None:
    table = seeds_table(tmp_path / "seeds.parquet", DIMENSION, "hub:other@1")
    with pytest.raises(preflight.ConfigError, match="made by hub:other@1, not by desc"):
        preflight.check_embedder(config(), [table])


def test_an_unknown_embedder_is_refused() -> None:
    with pytest.raises(preflight.ConfigError) as caught:
        preflight.check_embedder(config("keras:resnet"), [])
    assert str(caught.value).startswith(
        "--embedder: unknown embedder 'keras:resnet': use "
    )


class Unmeasured:
    """An embedder whose similarities mean what its family's mean."""

    embedder_id = "clip@0123"
    dimension = 3
    resizing = squeeze(8)
    default_threshold = None

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Raise: a threshold needs no picture."""
        raise AssertionError


def test_without_a_measured_threshold_one_must_be_given() -> None:
    with pytest.raises(preflight.ConfigError, match="calibrate τ for this embedder"):
        preflight.threshold_of(config(), Unmeasured())
    given = config("descriptor", "--threshold=0.3")
    assert preflight.threshold_of(given, Unmeasured()) == 0.3
    assert preflight.threshold_of(config(), load_embedder("descriptor")) == 0.6


def test_only_models_of_the_hub_need_pinning() -> None:
    for name in ("descriptor", "hub:gs://b/m", "models/clip"):
        assert preflight.pin_models(config(name)) == config(name)
