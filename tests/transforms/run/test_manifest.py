"""`run.json`: figures that add up, and a file that comes last."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.io import storage
from index_service.build.build_index import IndexConfig, build_index
from index_service.store.index_directory import IndexManifest
from models.embedders.descriptor import describe
from tests.support.made_media import still
from transforms.matches.pairs import Pair
from transforms.run.manifest import (
    FORMAT,
    RunInfo,
    Tally,
    WriteRunManifest,
    accounting,
    write_run,
)
from transforms.run.shards import WrittenFile, describe_file
from transforms.run.tables import _write_pairs

# A run in which every stage drops something.
TALLIES = {
    "seed_rows": 20,
    "rejected/read_seeds/empty_caption": 2,
    "rejected/read_seeds/missing_image": 1,
    "seeds": 16,
    "rejected/load_seeds/not_found": 4,
    "images": 12,
    "images_embedded": 11,
    "rejected/embed_seeds/no_embedding": 1,
    "videos": 9,
    "rejected/list_videos/duplicate_video": 1,
    "rejected/filter_videos/too_old": 3,
    "videos_mined": 7,
    "videos_failed": 2,
    "rejected/probe/not_a_video": 2,
    "frames": 500,
    "frames_embedded": 498,
    "rejected/embed_frames/embedding_failed": 2,
    "matches": 90,
    "matches_above_threshold": 60,
    "selected": 33,
    "cuts": 30,
    "cuts_written": 28,
    "rejected/write_clips/no_frames": 1,
    "rejected/write_clips/sound_none": 1,
    # Neither of these drops anything.
    "rejected/extract_frames/broken_video": 5,
    "rejected/read_sound/broken_sound": 3,
}
STAGES = [
    ("read_seeds", 23, 20, {"empty_caption": 2, "missing_image": 1}),
    ("load_seeds", 20, 16, {"not_found": 4}),
    ("embed_seeds", 12, 11, {"no_embedding": 1}),
    ("list_videos", 13, 9, {"too_old": 3, "duplicate_video": 1}),
    ("extract_frames", 9, 7, {"failed": 2}),
    ("embed_frames", 500, 498, {"embedding_failed": 2}),
    ("select_matches", 90, 33, {"below_threshold": 30, "not_among_the_best": 27}),
    ("write_clips", 30, 28, {"no_frames": 1, "sound_none": 1}),
]


def test_each_stage_accounts_for_what_came() -> None:
    assert accounting(TALLIES) == [
        {"stage": name, "in": came, "out": out, "dropped": dropped, "balanced": True}
        for name, came, out, dropped in STAGES
    ]


@pytest.mark.parametrize(
    ("figure", "stage"),
    [
        ("seeds", "load_seeds"),
        ("images_embedded", "embed_seeds"),
        ("videos_mined", "extract_frames"),
        ("frames_embedded", "embed_frames"),
        ("cuts_written", "write_clips"),
    ],
)
def test_what_is_lost_is_told(
    figure: str, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        rows = accounting({**TALLIES, figure: TALLIES[figure] - 1})
    assert [row["stage"] for row in rows if not row["balanced"]] == [stage]
    (message,) = caplog.messages
    assert message.startswith("accounting does not balance") and stage in message


def test_an_empty_run_balances() -> None:
    assert [(row["in"], row["out"], row["balanced"]) for row in accounting({})] == (
        [(0, 0, True)] * 8
    )


# --- writing -------------------------------------------------------------------------

PAIR = Pair("a.mp4", 0, 10, "c", "clip", "a", "seed", "a.png", 1, 0.75, 5, "ok")


def info(root: str) -> RunInfo:
    return RunInfo(root, {"fps": 1.0}, "hash", "descriptor-v1", 0.6, 0.5, 1e9)


def write_shards(root: str) -> list[WrittenFile]:
    """Two files of pairs, and one that is none."""
    files = []
    for name, pairs in (("pairs/0", [PAIR]), ("pairs/1", [PAIR._replace(video="b")])):
        with storage.writing(f"{root}/{name}") as path:
            _write_pairs(path, pairs, "hash")
            files.append(describe_file(path, name, 1))
    storage.write_bytes(f"{root}/clips/0", b"clip")
    return [*files, WrittenFile("clips/0", 1, 4, hashlib.sha256(b"clip").hexdigest())]


def read_json(root: str) -> dict[str, Any]:
    return json.loads(storage.read_bytes(f"{root}/run.json", 1 << 20))


def test_a_run_says_what_it_is_made_of(root: str) -> None:
    files = write_shards(root)
    storage.write_bytes(f"{root}/work/seeds/part", b"scratch")
    run = write_run(info(root), {"b": 2, "a": 1}, [*files[::-1], files[0]], None, [])
    assert run == read_json(root)
    csv_bytes = b'"a.mp4",0,10,"c"\n"b",0,10,"c"\n'
    assert storage.read_bytes(f"{root}/pairs.csv", 99) == csv_bytes
    digest = hashlib.sha256(csv_bytes).hexdigest()
    listed = [WrittenFile("pairs.csv", 2, len(csv_bytes), digest), files[2], *files[:2]]
    assert run["files"] == [file._asdict() for file in listed]
    assert not storage.exists(f"{root}/work")
    assert list(run["counts"].items()) == [("a", 1), ("b", 2)]
    assert (run["format"], run["config"], run["config_hash"]) == (
        FORMAT, {"fps": 1.0}, "hash",
    )  # fmt: skip
    assert (run["threshold"], run["min_similarity"]) == (0.6, 0.5)
    assert (run["embedder"], run["started"]) == ("descriptor-v1", 1e9)
    assert {"apache-beam", "av", "numpy"} <= set(run["versions"])
    assert run["index"] == {"kind": "none", "seeds": 0, "recall": None}


def test_a_run_whose_pairs_are_gone_has_no_run_json(tmp_path: Path) -> None:
    files = write_shards(str(tmp_path))
    (tmp_path / "pairs/1").unlink()
    with pytest.raises(Exception, match="not_found"):
        write_run(info(str(tmp_path)), {}, files, None, [])
    assert not (tmp_path / "run.json").exists()
    assert not (tmp_path / "pairs.csv").exists()


@pytest.fixture
def manifest(tmp_path: Path) -> IndexManifest:
    images = np.stack([still(scene, 224, 224) for scene in (1, 2)])
    place = tmp_path / "index"
    config = IndexConfig()
    return build_index(place, ["a", "b"], describe(images), "e", 0.6, None, config)


@pytest.mark.parametrize(
    ("audits", "on_frames"),
    [
        ([(9, 10), (4, 4), (0, 2)], {"pairs": 16, "found": 13, "recall": 13 / 16}),
        ([], {"pairs": 0, "found": 0, "recall": None}),
    ],
)
def test_the_recall_measured_on_frames_is_written(
    tmp_path: Path,
    manifest: IndexManifest,
    audits: list[tuple[int, int]],
    on_frames: dict[str, Any],
) -> None:
    run = write_run(info(str(tmp_path)), {}, [], manifest, audits)
    assert run["index"]["audit_on_frames"] == on_frames
    assert (run["index"]["kind"], run["index"]["seeds"]) == ("exact", 2)
    assert run["index"]["recall"] == 1.0


# --- in a pipeline -------------------------------------------------------------------


def test_a_tally_is_one_sum_or_nothing() -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        words = pipeline | beam.Create(["a", "bcd", "ef"])
        none = words | beam.Filter(lambda _: False)
        assert_that(words | Tally("n"), equal_to([("n", 3)]), label="count")
        chars = words | "Chars" >> Tally("chars", len)
        assert_that(chars, equal_to([("chars", 6)]), label="sum")
        assert_that(none | "None" >> Tally("n"), equal_to([]), label="nothing")


def test_run_json_waits_for_all_that_it_tells_of(tmp_path: Path) -> None:
    files = write_shards(str(tmp_path))
    with TestPipeline(runner="FnApiRunner") as pipeline:
        words = pipeline | "Words" >> beam.Create(["a", "b"])
        written = pipeline | "Files" >> beam.Create(files)
        no_index = words | "NoIndex" >> beam.FlatMap(lambda _: []).with_output_types(
            IndexManifest
        )
        audits = pipeline | "Audits" >> beam.Create([(1, 2), (2, 2)])
        runs = pipeline | WriteRunManifest(
            info(str(tmp_path)), words | Tally("words"), written, no_index, audits
        )
        counts = runs | beam.Map(lambda run: run["counts"])
        assert_that(counts, equal_to([{"words": 2}]))
    run = read_json(str(tmp_path))
    assert run["counts"] == {"words": 2} and len(run["files"]) == 4
