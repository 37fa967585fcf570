"""The main job's flags and formats, on a small corpus made here.

`loud.mp4` shows scene 1 for 4 s, then scene 2; `mute.mp4` shows scene 3, without sound.
"""

import csv
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipseed.run.tfrecord import read_records
from tests.support.made_media import RATE, film, still, tone, write_video
from tests.support.mined import ONE_WORKER, TWO_WORKERS, mine

CAPTIONS = {"one.png": "the first scene", "two.png": 'a "second"\nscene\t', "three.png":
            "la troisième scène"}  # fmt: skip
LOUD = np.concatenate([film(1, 4), film(2, 10)])
SOUND = tone(14)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    (root / "videos").mkdir()
    write_video(root / "videos" / "loud.mp4", LOUD, sound=SOUND)
    write_video(root / "videos" / "mute.mp4", film(3, 12))
    for scene, name in enumerate(CAPTIONS, start=1):
        Image.fromarray(still(scene)).save(root / name)
    with (root / "seeds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *CAPTIONS.items()])
    return root


@pytest.fixture(scope="module")
def base(corpus: Path) -> Path:
    return mine(corpus, corpus / "base", *TWO_WORKERS)


def table(run_dir: Path, name: str) -> list[dict[str, Any]]:
    files = sorted((run_dir / name).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def found(run_dir: Path) -> set[tuple[str, str]]:
    return {(row["video"], row["caption"]) for row in table(run_dir, "pairs")}


def reasons(run_dir: Path) -> dict[str, str]:
    lines = [
        line
        for file in sorted((run_dir / "rejected").iterdir())
        for line in file.read_text().splitlines()
    ]
    return {row["key"]: row["reason"] for row in map(json.loads, lines)}


ALL = set(zip(["loud.mp4", "loud.mp4", "mute.mp4"], CAPTIONS.values(), strict=True))


def test_every_scene_is_found_once(base: Path) -> None:
    assert found(base) == ALL and len(table(base, "pairs")) == 3
    assert reasons(base) == {}


# --- records, by TensorFlow's own parser ---------------------------------------------


@pytest.fixture(scope="module")
def examples(base: Path) -> dict[bytes, Any]:
    """Return the SequenceExamples of the run, by caption."""
    import tensorflow as tf

    made = {}
    for file in sorted((base / "clips").iterdir()):
        for data in read_records(str(file)):
            example = tf.train.SequenceExample.FromString(data)
            (caption,) = example.context.feature["caption/string"].bytes_list.value
            made[caption] = example
    return made


def cut_us(example: Any) -> tuple[int, int]:
    start, end = (
        example.context.feature[f"clip/{end}/timestamp"].int64_list.value[0]
        for end in ("start", "end")
    )
    return start, end


def floats(example: Any, key: str) -> list[np.ndarray]:
    steps = example.feature_lists.feature_list[key].feature
    return [np.array(step.float_list.value, np.float32) for step in steps]


def test_captions_are_kept_byte_for_byte(examples: dict[bytes, Any]) -> None:
    assert set(examples) == {text.encode() for text in CAPTIONS.values()}


def test_each_frame_of_a_clip_is_the_one_on_screen(examples: dict[bytes, Any]) -> None:
    start_us, end_us = cut_us(examples[b"the first scene"])
    assert (start_us, end_us) == (0, 10_000_000)
    steps = examples[b"the first scene"].feature_lists.feature_list["image/encoded"]
    assert len(steps.feature) == 250
    for number, step in enumerate(steps.feature):
        image = Image.open(io.BytesIO(step.bytes_list.value[0]))
        assert image.size == (341, 256)
        shown = np.asarray(image.resize((160, 120), Image.Resampling.BOX), float)
        wanted = LOUD[number].astype(float)
        other = film(2 if number < 4 * RATE else 1, 0.04)[0].astype(float)
        difference = np.abs(shown - wanted).mean()
        assert difference < 15 and 3 * difference < np.abs(shown - other).mean()


def test_sound_has_the_length_and_energy_of_the_source(
    examples: dict[bytes, Any],
) -> None:
    for caption, example in examples.items():
        waveform = floats(example, "WAVEFORM/feature/floats")
        melspec = floats(example, "melspec/feature/floats")
        verdict = example.context.feature["sound/verdict"].bytes_list.value[0]
        if caption == "la troisième scène".encode():
            assert verdict == b"none"  # A second of silence, which readers repeat.
            assert [step.tolist() for step in waveform] == [[0.0] * 16_000]
            assert [np.ptp(step) for step in melspec] == [0]
            continue
        assert verdict == b"ok"
        start_us, end_us = cut_us(example)
        assert [len(step) for step in waveform] == [round((end_us - start_us) * 0.016)]
        assert [step.shape for step in melspec] == [(12_800,)] * 10
        source = SOUND[round(start_us * 0.016) : round(end_us * 0.016), 0] / 32768
        energy = np.square(waveform[0]).sum(dtype=float)
        assert energy == pytest.approx(np.square(source).sum(), rel=0.02)


# --- determinism ---------------------------------------------------------------------


def results(run_dir: Path) -> dict[str, bytes]:
    """Return every file of a run but `run.json`, which holds the time."""
    files = [path for path in run_dir.rglob("*") if path.is_file()]
    by_name = {str(path.relative_to(run_dir)): path.read_bytes() for path in files}
    del by_name["run.json"]
    return by_name


@pytest.mark.parametrize(
    "flags",
    [TWO_WORKERS, (*ONE_WORKER, "--no_isolate_decoder")],
    ids=["again", "one worker"],
)
def test_a_run_can_be_repeated_to_the_byte(
    corpus: Path, base: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    again = results(mine(corpus, tmp_path / "run", *flags))
    first = results(base)
    assert sorted(again) == sorted(first)
    assert [name for name in first if first[name] != again[name]] == []


# --- flags ---------------------------------------------------------------------------


def test_require_sound_leaves_out_what_is_mute(corpus: Path, tmp_path: Path) -> None:
    output = mine(corpus, tmp_path / "run", "--require_sound", "--clip_fps=5")
    assert found(output) == {pair for pair in ALL if pair[0] == "loud.mp4"}
    ((key, reason),) = reasons(output).items()
    assert key.startswith("mute.mp4@") and reason == "sound_none"


def test_without_a_gap_neighbors_are_clips(corpus: Path, tmp_path: Path) -> None:
    flags = ("--min_gap_s=0", "--top_k=3", "--clip_fps=5", "--min_similarity=0.1")
    output = mine(corpus, tmp_path / "run", *flags)
    matches = table(output, "matches")
    ranks: dict[str, list[int]] = {}
    for row in matches:
        if row["rank"] is not None:
            assert row["similarity"] > 0.6
            ranks.setdefault(row["seed_id"], []).append(row["rank"])
    assert sorted(ranks.values()) == [[1, 2, 3]] * 3
    below = [row for row in matches if row["similarity"] <= 0.6]
    assert below and all(row["rank"] is None for row in below)
    assert all(row["similarity"] > 0.1 for row in matches)


def test_keyframes_and_parts_find_the_same_scenes(corpus: Path, tmp_path: Path) -> None:
    flags = ("--sampling=keyframe", "--clip_fps=5", "--part_s=5")
    assert found(mine(corpus, tmp_path / "run", *flags)) == ALL


def test_filters_drop_what_the_manifest_says(corpus: Path, tmp_path: Path) -> None:
    rows = {  # id: views, seconds, uploaded, safe
        "good": (1001, 1199, "2024-01-01", "true"),
        "view_count": (1000, 14, "2024-01-01", "true"),
        "duration": (5000, 1200, "2024-01-01", "true"),
        "too_old": (5000, 14, "2014-12-31", "true"),
        "too_recent": (5000, 14, "2024-12-31", "true"),
        "content_safety": (5000, 14, "2024-01-01", "false"),
        "denied_id": (5000, 14, "2024-01-01", "true"),
        "denied_host": (5000, 14, "2024-01-01", "true"),
    }
    place = {name: f"{name}.mp4" for name in rows}
    place["denied_host"] = "https://a.bad.example/x.mp4"
    for name in ("good", "too_old"):  # the others are dropped unopened
        shutil.copy(corpus / "videos" / "loud.mp4", tmp_path / place[name])
    header = ("id", "video", "view_count", "duration", "upload_date", "safe")
    videos = tmp_path / "videos.csv"
    with videos.open("w", newline="") as file:
        csv.writer(file).writerows([header, *((k, place[k], *rows[k]) for k in rows)])
    (tmp_path / "deny.txt").write_text("# not these\ndenied_id\nbad.example\n")
    flags = (f"--denylist={tmp_path / 'deny.txt'}", "--clip_fps=5")
    output = mine(corpus, tmp_path / "run", "--as_of=2025-01-01", *flags, videos=videos)
    dropped = {place[name]: name for name in rows if name != "good"}
    assert reasons(output) == dropped
    assert {row["video_id"] for row in table(output, "pairs")} == {"good"}

    day = "--as_of=2024-12-30"  # two days earlier the old one is young enough
    early = mine(corpus, tmp_path / "early", day, *flags, videos=videos)
    assert reasons(early) == {k: v for k, v in dropped.items() if v != "too_old"}


@pytest.mark.parametrize("form", ["cc3m.tsv", "cc12m.tsv", "00000.tar"])
def test_other_seeds_formats_give_the_same_pairs(
    corpus: Path, base: Path, tmp_path: Path, form: str
) -> None:
    plain = {name: text.split("\n")[0].strip() for name, text in CAPTIONS.items()}
    if form.endswith("tar"):
        with tarfile.open(corpus / form, "w") as shard:
            for number, (name, text) in enumerate(plain.items()):
                members = {"png": (corpus / name).read_bytes(), "txt": text.encode()}
                for suffix, data in members.items():
                    info = tarfile.TarInfo(f"{number:09d}.{suffix}")
                    info.size = len(data)
                    shard.addfile(info, io.BytesIO(data))
    else:
        order = (1, -1)[form == "cc3m.tsv"]
        lines = ["\t".join(pair[::order]) for pair in plain.items()]
        (corpus / form).write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = mine(corpus, tmp_path / "run", "--clip_fps=5", seeds=form)
    columns = ("seed_id", "video", "start_us", "end_us", "similarity")
    wanted, given = (
        [[row[name] for name in columns] for row in table(run_dir, "pairs")]
        for run_dir in (base, output)
    )
    assert given == wanted
    assert {row["caption"] for row in table(output, "pairs")} == set(plain.values())
