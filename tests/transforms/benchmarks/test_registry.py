"""Annotation layouts as published, and what is wrong with a row."""

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from clipseed.errors import InputError
from tests.support.paths import DATA
from transforms.benchmarks.registry import Benchmark, BenchmarkClip, read_benchmark

TABLES = DATA / "tables"
SENTENCES = [
    {"video_id": f"video{video}", "caption": f"caption {number} of {video}"}
    for number in range(3)
    for video in (1, 2, 9770, 9771)
]
NEEDED = "high-quality/structured-symlinks"


def write(directory: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
    return str(directory)


def clip4clip(**changes: str | bytes) -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {
        "MSRVTT_JSFUSION_test.csv": "key,vid_key,video_id,sentence\n"
        "ret0,msr9770,video9770,a person is connecting something to system\n"
        'ret1,msr9771,video9771,"a dog, a cat"\n',
        "MSRVTT_train.9k.csv": "video_id\nvideo2\nvideo1\n",
        "MSRVTT_data.json": json.dumps({"videos": [], "sentences": SENTENCES}),
    }
    return files | changes


def frozen(**changes: str | bytes) -> dict[str, str | bytes]:
    annotations = [
        {"image_id": s["video_id"], "caption": s["caption"]} for s in SENTENCES
    ]
    files: dict[str, str | bytes] = {
        "annotation/MSR_VTT.json": json.dumps({"annotations": annotations}),
        f"{NEEDED}/train_list_jsfusion.txt": "video2\nvideo1\n",
        f"{NEEDED}/val_list_jsfusion.txt": "video9770\nvideo9771",
        f"{NEEDED}/jsfusion_val_caption_idx.pkl": pickle.dumps(
            {"video9770": 2, "video9771": 0}
        ),
    }
    return files | changes


def captions(benchmark: Benchmark) -> dict[str, tuple[str, ...]]:
    return {clip.clip_id: clip.captions for clip in benchmark.clips}


TRAINING = {
    f"video{video}": tuple(f"caption {number} of {video}" for number in range(3))
    for video in (2, 1)
}


def test_msr_vtt_as_clip4clip_has_it(tmp_path: Path) -> None:
    directory = write(tmp_path, clip4clip())
    test = read_benchmark("msr_vtt", directory)
    person = "a person is connecting something to system"
    assert test.name == "msr_vtt/test" and test.clips == (
        BenchmarkClip("video9770", "video9770", 0, -1, (person,)),
        BenchmarkClip("video9771", "video9771", 0, -1, ("a dog, a cat",)),
    )
    train = captions(read_benchmark("msr_vtt", directory, "train"))
    assert train == TRAINING and list(train) == ["video2", "video1"]


def test_msr_vtt_as_frozen_in_time_has_it(tmp_path: Path) -> None:
    directory = write(tmp_path, frozen())
    assert captions(read_benchmark("msr_vtt", directory)) == {
        "video9770": ("caption 2 of 9770",),
        "video9771": ("caption 0 of 9771",),
    }
    assert captions(read_benchmark("msr_vtt", directory, "train")) == TRAINING


@pytest.mark.parametrize("layout", ["clip4clip", "challenge"])
def test_msr_vtt_for_captions(tmp_path: Path, layout: str) -> None:
    splits = {"video0": "train", "video1": "validate", "video2": "test"}
    splits["video3"] = "test"
    texts = {video: [f"{video} {number}" for number in range(20)] for video in splits}

    def table(*wanted: str) -> str:
        rows = [(v, of) for v, of in splits.items() if of in wanted]
        videos = [{"video_id": video, "split": of} for video, of in rows]
        sentences = [
            {"video_id": video, "caption": text}
            for number in range(20)
            for video, _ in rows
            for text in texts[video][number : number + 1]
        ]
        return json.dumps({"videos": videos, "sentences": sentences})

    files = {"MSRVTT_data.json": table("train", "validate", "test")}
    if layout == "challenge":
        files = {
            "train_val_videodatainfo.json": table("train", "validate"),
            "test_videodatainfo.json": table("test"),
        }
    directory = write(tmp_path, files)
    for split, of in (("train", "train"), ("val", "validate"), ("test", "test")):
        found = read_benchmark("msr_vtt_captions", directory, split)
        assert found.name == f"msr_vtt_captions/{split}"
        wanted = {v: tuple(texts[v]) for v in splits if splits[v] == of}
        assert captions(found) == wanted


def test_audiocaps_groups_by_video_and_start(tmp_path: Path) -> None:
    rows = AUDIO + "1,a,30,x\n2,b,30,x\n3,a,30,y\n4,a,40,z\n"
    test = read_benchmark("audiocaps", write(tmp_path, {"test.csv": rows}))
    assert captions(test) == {"a_30": ("x", "y"), "b_30": ("x",), "a_40": ("z",)}
    assert test.clips[2] == BenchmarkClip("a_40", "a", 40_000_000, 50_000_000, ("z",))


@pytest.mark.skipif(not TABLES.is_dir(), reason="../shared/data is not here")
def test_audiocaps_validation_set_as_published(tmp_path: Path) -> None:
    table = (TABLES / "audiocaps_val.csv").read_bytes()
    val = read_benchmark("audiocaps", write(tmp_path, {"val.csv": table}), "val")
    assert len(val.clips) == 495
    assert {len(clip.captions) for clip in val.clips} == {5}
    # Of 12 clips with one and the same caption, each has its own alone.
    same = "A toilet flushes and water drains"
    assert sum(same in clip.captions for clip in val.clips) == 12
    assert sum(clip.captions.count(same) for clip in val.clips) == 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1"])
def test_clotho_has_five_captions_a_sound(tmp_path: Path, encoding: str) -> None:
    header = "file_name," + ",".join(f"caption_{n}" for n in range(1, 6))
    rows = f'{header}\r\nCafé 1.wav,a,b,"c, d",e,f\r\nx.wav,g,h,i,j,k\r\n'
    files = {"clotho_captions_evaluation.csv": rows.encode(encoding)}
    test = read_benchmark("clotho", write(tmp_path, files))
    assert captions(test) == {
        "Café 1.wav": ("a", "b", "c, d", "e", "f"),
        "x.wav": ("g", "h", "i", "j", "k"),
    }


# --- bad input -----------------------------------------------------------------------

Files = dict[str, str | bytes]


class Evil:
    def __reduce__(self) -> tuple[Callable, tuple]:
        return print, ("code of a pickle ran",)


TEST_CSV = "MSRVTT_JSFUSION_test.csv"
HEADER = "key,vid_key,video_id,sentence\n"
CHOSEN = f"{NEEDED}/jsfusion_val_caption_idx.pkl"
AUDIO = "audiocap_id,youtube_id,start_time,caption\n"
BAD: list[tuple[str, str, Files, str]] = [
    ("msr_vtt", "test", {}, "none of MSRVTT_JSFUSION_test.csv, annotation/MSR_VTT"),
    ("msr_vtt", "val", clip4clip(), "no split 'val'"),
    ("msr_vtt_captions", "test", {}, "none of MSRVTT_data.json, test_videodatainfo"),
    ("msr_vtt_captions", "train",
     {"MSRVTT_data.json": '{"videos": [{"video_id": "v"}]}'}, "no text 'split'"),
    ("msr_vtt", "train", {"MSRVTT_train.9k.csv": "video_id\nv\n"}, "none of MSRVTT_d"),
    ("msr_vtt", "test", {TEST_CSV: "a,b\n"}, "row 0: .*lacks the column video_id, s"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + "r,m,v,a,b\n"}, "row 1: it has 5 cells"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + "r,m,v, \n"}, "row 1: its sentence is em"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + 'r,m,v,"a'}, "it is not CSV"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + "r,m,v,a\nr,m,v,b\n"}, "lists v twice"),
    ("msr_vtt", "test", {TEST_CSV: HEADER}, "the test split of .* is empty"),
    ("msr_vtt", "test", {TEST_CSV: (HEADER + "r,m,v,é\n").encode("latin1")},
     "row 1: it is not UTF-8"),
    ("msr_vtt", "train", clip4clip() | {"MSRVTT_data.json": "{"}, "it is not JSON"),
    ("msr_vtt", "train", clip4clip() | {"MSRVTT_data.json": "[]"}, "no list 'sentenc"),
    ("msr_vtt", "train",
     clip4clip() | {"MSRVTT_data.json": '{"sentences": [{"video_id": 3}]}'},
     "row 1: this entry of 'sentences' has no text 'video_id'"),
    ("msr_vtt", "train", clip4clip() | {"MSRVTT_train.9k.csv": "video_id\nvideo7\n"},
     "row 1: video7 has no caption in .*MSRVTT_data.json"),
    ("msr_vtt", "test", frozen() | {CHOSEN: pickle.dumps({"video9770": 3})},
     "video9770 has 3 captions, not one 3"),
    ("msr_vtt", "test", frozen() | {CHOSEN: pickle.dumps([1])}, "numbers by video"),
    ("msr_vtt", "test", frozen() | {CHOSEN: b"rubbish"}, "not a plain pick"),
    ("msr_vtt", "test", frozen() | {CHOSEN: pickle.dumps(Evil())}, "not a plain pick"),
    ("audiocaps", "test", {"test.csv": AUDIO + "1,a,1,b\n2,a,soon,b\n"},
     "row 2: 'soon' is not a start_time"),
    ("audiocaps", "test", {"test.csv": AUDIO + "1,a,-1,b\n"}, "row 1: '-1' is not"),
    ("clotho", "dev", {}, "no split 'dev'"),
    ("vatex", "test", {}, "name one of msr_vtt, msr_vtt_captions, audiocaps"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "split", "files", "said"), BAD)
def test_bad_annotations_are_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    protocol: str,
    split: str,
    files: Files,
    said: str,
) -> None:
    with pytest.raises(InputError, match=said):
        read_benchmark(protocol, write(tmp_path, files), split)
    assert "ran" not in capsys.readouterr().out


def test_the_table_is_read_as_csv_reads_it(tmp_path: Path) -> None:
    with (tmp_path / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["audiocap_id", "youtube_id", "start_time", "caption"])
        writer.writerow([1, "-a_B", 0, 'says "hi",\nthen leaves'])
    (clip,) = read_benchmark("audiocaps", str(tmp_path)).clips
    assert clip.captions == ('says "hi",\nthen leaves',)
