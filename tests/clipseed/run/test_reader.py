"""A run directory as its reader sees it: whole, damaged, unfinished."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clipseed
from clipseed.elements import Pair, RankedMatch
from clipseed.errors import DeadLetter, InputError
from clipseed.run.accounting import CLIPS, PAIRS, Counts
from clipseed.run.clip_record import ClipRecord, decode
from clipseed.run.manifest import (
    FORMAT,
    CutBenchmark,
    IndexFacts,
    MiningFacts,
    MissingClip,
    RunManifest,
)
from clipseed.run.reader import Run, Verify
from clipseed.run.tables import (
    CsvPair,
    write_dead_letters,
    write_matches,
    write_pairs,
)
from clipseed.run.writer import RunWriter
from tests.support.tiny_run import clip_record

RECORDS = [clip_record(i, [f"caption {i}"], frames=4) for i in range(3)]
PAIR = Pair("a.mp4", 0, 10, "c", "clip", "a", "seed", "a.png", 1, 0.75, 5, "ok")
MATCHES = [
    RankedMatch("s", "a.mp4", "a", 5, 0.75, 1, "e"),
    RankedMatch("s", "a.mp4", "a", 6, 0.5, None, "e"),
]
REJECTED = DeadLetter("probe", "tëxt\n.mp4", "not_a_video", "It is a text.")
MINING = MiningFacts(
    config={"seeds": "s.csv"}, config_hash="h", embedder="e", threshold=0.6,
    min_similarity=0.4, versions={"av": "18"}, started=1.5, seconds=2.5,
    counts=Counts({CLIPS: 3, PAIRS: 3}), seeds_fingerprint=7,
    index=IndexFacts("exact", 2, 816, 1.0, "exact", 10, 9),
)  # fmt: skip


def write_run(root: str, mining: MiningFacts | None = MINING, **facts: Any) -> str:
    from clipseed.run.clip_record import encode

    writer = RunWriter(root)
    files = [
        writer.write_clips(shard, 2, map(encode, RECORDS[shard::2]))
        for shard in range(2)
    ]
    tables: dict[str, tuple[Callable, list]] = {
        "pairs": (lambda path, rows: write_pairs(path, rows, "h"), [PAIR]),
        "matches": (lambda path, rows: write_matches(path, rows, "h"), MATCHES),
        "rejected": (write_dead_letters, [REJECTED]),
    }
    for folder, (write, rows) in tables.items():
        for shard, some in enumerate([rows, []]):
            files.append(
                writer.write_shard(
                    folder, shard, 2, lambda p, w=write, some=some: w(p, some)
                )
            )
    files.append(writer.write_pairs_csv([CsvPair(*PAIR[:4])]))
    writer.finish(RunManifest(tuple(files), mining, **facts))
    return root


def same(one: ClipRecord, other: ClipRecord) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ClipRecord.__dataclass_fields__
    )


def test_all_that_was_written_is_read(root: str) -> None:
    run = clipseed.open_run(write_run(root), verify="checksums")
    assert run.mining == MINING and len(run.manifest.files) == 9
    assert list(run.pairs()) == [PAIR]
    assert list(run.matches()) == MATCHES
    assert list(run.dead_letters()) == [REJECTED]
    assert list(run.pairs_csv()) == [CsvPair("a.mp4", 0, 10, "c")]
    clips = list(clipseed.read_clips(root))
    in_order = (*RECORDS[0::2], *RECORDS[1::2])
    assert all(map(same, clips, in_order)) and len(clips) == 3
    assert (clips[0].decode_frames() - np.uint8(0)).shape == (4, 48, 64, 3)


def test_clips_are_read_in_any_order(root: str) -> None:
    clips = Run.open(write_run(root)).open_clips(verify_checksums=True)
    found = [decode(clips.read(number)).clip_id for number in (2, 0, 1)]
    assert found == ["clip1", "clip0", "clip2"] and len(clips) == 3
    assert "clips-00001-of-00002.tfrecord" in clips.name(2)


def test_a_key_leads_to_its_shard(tmp_path: Path) -> None:
    run = Run.open(write_run(str(tmp_path)))
    wanted = str(tmp_path / "rejected/rejected-00000-of-00002.jsonl")
    assert run.uri_for("rejected", "a") in run.uris("rejected")
    assert run.uris("rejected")[0] == wanted


def test_a_benchmark_has_clips_and_captions_but_was_not_mined(root: str) -> None:
    missing = MissingClip("x", "not_found", "It does not exist.", ("a", "b"))
    benchmark = CutBenchmark("msr_vtt/test", "d", (missing,))
    run = Run.open(write_run(root, mining=None, benchmark=benchmark))
    assert run.manifest.benchmark == run.open_clips().benchmark == benchmark
    assert len(list(run.pairs_csv())) == 1 and len(list(run.clips())) == 3
    for read in (run.pairs, run.matches, run.dead_letters):
        with pytest.raises(InputError) as caught:
            next(iter(read()))
        assert caught.value.reason == "not_mined"


# --- damage --------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        "pairs.csv", "pairs/pairs-00000-of-00002.parquet",
        "matches/matches-00001-of-00002.parquet", "clips/clips-00000-of-00002.tfrecord",
        "rejected/rejected-00000-of-00002.jsonl",
    ],
)  # fmt: skip
def test_damage_is_found_by_the_verification_asked_for(
    tmp_path: Path, name: str
) -> None:
    write_run(str(tmp_path))
    damages: list[tuple[Callable[[Path], object], set[Verify]]] = [
        (flip, {"checksums"}),
        (lambda path: path.write_bytes(b"."), {"sizes", "checksums"}),
        (Path.unlink, {"sizes", "checksums"}),
    ]
    for damage, finding in damages:
        damage(tmp_path / name)
        for verify in ("nothing", "sizes", "checksums"):
            if verify not in finding:
                Run.open(tmp_path, verify)
                continue
            with pytest.raises(InputError, match=Path(name).name) as caught:
                Run.open(tmp_path, verify)
            assert caught.value.reason == "damaged_run"


@pytest.mark.parametrize("folder", ["pairs", "matches", "rejected"])
def test_a_table_of_rubbish_is_named(tmp_path: Path, folder: str) -> None:
    run = Run.open(write_run(str(tmp_path)))
    path = next(p for p in sorted((tmp_path / folder).iterdir()) if p.stat().st_size)
    path.write_bytes(b"\xff rubbish")
    read = {"pairs": run.pairs, "matches": run.matches, "rejected": run.dead_letters}
    with pytest.raises(InputError, match=path.name) as caught:
        list(read[folder]())
    assert caught.value.reason == "damaged_run"


def edited(text: str, **changes: Any) -> str:
    entries = json.loads(text)
    for name, value in changes.items():
        if value is None:
            del entries[name]
        else:
            entries[name] = value
    return json.dumps(entries)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: None, "not_a_run"),
        (lambda text: "{", "damaged_run"),
        (lambda text: "\xff", "damaged_run"),
        (lambda text: "[]", "not_a_run"),
        (lambda text: edited(text, format="clipseed-run/1"), "not_a_run"),
        (lambda text: edited(text, files=None), "damaged_run"),
        (lambda text: edited(text, files=[{"path": "pairs.csv"}]), "damaged_run"),
        (lambda text: edited(text, files={}), "damaged_run"),
        (lambda text: edited(text, threshold=None), "damaged_run"),
        (lambda text: edited(text, threshold="0.6"), "damaged_run"),
        (lambda text: edited(text, counts=[]), "damaged_run"),
        (lambda text: edited(text, counts={"probe": 3}), "damaged_run"),
        (lambda text: edited(text, counts={"probe": {"in": "3"}}), "damaged_run"),
        (lambda text: edited(text, index={"kind": "exact"}), "damaged_run"),
        (lambda text: edited(text, benchmark={"name": "x"}), "damaged_run"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(
    root: str, change: Callable[[str], str | None], reason: str
) -> None:
    from clipseed.io import storage

    write_run(root)
    text = change(storage.read_bytes(f"{root}/run.json", 1 << 20).decode())
    storage.remove_tree(f"{root}/run.json")
    if text is not None:
        storage.write_bytes(f"{root}/run.json", text.encode("latin-1"))
    with pytest.raises(InputError, match="is not a finished run") as caught:
        Run.open(root, verify="nothing")
    assert caught.value.reason == reason


def test_a_run_that_was_interrupted_has_no_manifest(tmp_path: Path) -> None:
    def broken() -> Any:
        yield b"record"
        raise OSError("the disk is full")

    writer = RunWriter(str(tmp_path))
    with pytest.raises(OSError, match="the disk is full"):
        writer.write_clips(0, 1, broken())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_manifest_comes_back_from_json() -> None:
    manifest = RunManifest((), replace(MINING, index=IndexFacts("none", 0)))
    entries = json.loads(json.dumps(manifest.as_json()))
    assert entries["format"] == FORMAT
    assert [stage["stage"] for stage in entries["accounting"]][:2] == [
        "read_seeds", "load_seeds",
    ]  # fmt: skip
    assert RunManifest.from_json(entries) == manifest
