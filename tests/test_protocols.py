"""Annotation layouts as published, and what is wrong with a row."""

import csv
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_run import clip_record, write_run

from models.protocols import Benchmark, BenchmarkClip, read_benchmark, run_benchmark
from models.retrieval_metrics import retrieval
from transforms.elements import Reject

TABLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "tables"
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


def pairs(benchmark: Benchmark) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (caption, tuple(benchmark.clips[n].clip_id for n in owners))
        for caption, owners in zip(benchmark.captions, benchmark.owners, strict=True)
    ]


TRAINING = [
    (f"caption {number} of {video}", (f"video{video}",))
    for video in (2, 1)
    for number in range(3)
]


def test_msr_vtt_as_clip4clip_has_it(tmp_path: Path) -> None:
    directory = write(tmp_path, clip4clip())
    test = read_benchmark("msr_vtt", directory)
    assert pairs(test) == [
        ("a person is connecting something to system", ("video9770",)),
        ("a dog, a cat", ("video9771",)),
    ]
    assert test.clips[0] == BenchmarkClip("video9770", "video9770", 0, -1)
    assert test.relevant().tolist() == [[True, False], [False, True]]
    assert pairs(read_benchmark("msr_vtt", directory, "train")) == TRAINING


def test_msr_vtt_as_frozen_in_time_has_it(tmp_path: Path) -> None:
    directory = write(tmp_path, frozen())
    assert pairs(read_benchmark("msr_vtt", directory)) == [
        ("caption 2 of 9770", ("video9770",)),
        ("caption 0 of 9771", ("video9771",)),
    ]
    assert pairs(read_benchmark("msr_vtt", directory, "train")) == TRAINING


def test_audiocaps_groups_by_video_and_start(tmp_path: Path) -> None:
    rows = AUDIO + "1,a,30,x\n2,b,30,x\n3,a,30,y\n4,a,40,z\n"
    test = read_benchmark("audiocaps", write(tmp_path, {"test.csv": rows}))
    assert [clip.clip_id for clip in test.clips] == ["a_30", "b_30", "a_40"]
    assert test.clips[2] == BenchmarkClip("a_40", "a", 40_000_000, 50_000_000)
    assert test.captions == ("x", "x", "y", "z")
    assert test.owners == ((0,), (1,), (0,), (2,))


@pytest.mark.skipif(not TABLES.is_dir(), reason="../shared/data is not here")
def test_audiocaps_validation_set_as_published(tmp_path: Path) -> None:
    table = (TABLES / "audiocaps_val.csv").read_bytes()
    val = read_benchmark("audiocaps", write(tmp_path, {"val.csv": table}), "val")
    assert len(val.captions) == 2475 and len(val.clips) == 495
    assert Counter(owners[0] for owners in val.owners) == dict.fromkeys(range(495), 5)
    # Of 12 clips with one and the same caption, each has its own alone.
    same = [
        owner
        for caption, owner in zip(val.captions, val.owners, strict=True)
        if caption == "A toilet flushes and water drains"
    ]
    assert len(same) == 20 and len(set(same)) == 12
    assert val.relevant().sum() == 2475


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "iso-8859-1"])
def test_clotho_has_five_captions_a_sound(tmp_path: Path, encoding: str) -> None:
    header = "file_name," + ",".join(f"caption_{n}" for n in range(1, 6))
    rows = f'{header}\r\nCafé 1.wav,a,b,"c, d",e,f\r\nx.wav,g,h,i,j,k\r\n'
    files = {"clotho_captions_evaluation.csv": rows.encode(encoding)}
    test = read_benchmark("clotho", write(tmp_path, files))
    assert [clip.clip_id for clip in test.clips] == ["Café 1.wav", "x.wav"]
    assert test.captions == ("a", "b", "c, d", "e", "f", "g", "h", "i", "j", "k")
    assert test.owners == ((0,),) * 5 + ((1,),) * 5


def test_in_a_run_a_caption_belongs_to_all_that_have_it(tmp_path: Path) -> None:
    captions = (["a", "b"], ["b"], ["c", "c"])
    records = [clip_record(n, texts, frames=2) for n, texts in enumerate(captions)]
    got = run_benchmark(str(write_run(tmp_path / "run", records, shards=1)))
    assert pairs(got) == [
        ("a", ("clip0",)), ("b", ("clip0", "clip1")), ("c", ("clip2",))
    ]  # fmt: skip


def test_dead_links_are_left_out(tmp_path: Path) -> None:
    rows = "youtube_id,start_time,caption\na,1,x\nb,2,y\nc,3,z\na,1,w\n"
    whole = read_benchmark("audiocaps", write(tmp_path, {"test.csv": rows}))
    smaller, found = whole.only(["c_3", "other", "a_1"])
    assert pairs(smaller) == [("x", ("a_1",)), ("z", ("c_3",)), ("w", ("a_1",))]
    assert found == [2, 0]
    # A model that is right about them has the full figures.
    texts, clips = np.eye(2)[[0, 1, 0]], np.array([[0, 1], [9, 9], [1, 0]])
    got = retrieval(texts @ clips[found].T, smaller.relevant())
    assert got.recall[0] == 100 and (got.queries, got.candidates) == (3, 2)
    with pytest.raises(Reject, match=r"no_clips.*3 clips of audiocaps/test"):
        whole.only(["x"])
    with pytest.raises(Reject, match=r"duplicate_clip.*a_1"):
        whole.only(["a_1", "a_1"])


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
    ("msr_vtt", "train", {"MSRVTT_train.9k.csv": "video_id\nv\n"}, "none of MSRVTT_d"),
    ("msr_vtt", "test", {TEST_CSV: "a,b\n"}, "row 0: .*lacks the column video_id, s"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + "r,m,v,a,b\n"}, "row 1: it has 5 cells"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + "r,m,v, \n"}, "row 1: its sentence is em"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + 'r,m,v,"a'}, "it is no CSV"),
    ("msr_vtt", "test", {TEST_CSV: HEADER + "r,m,v,a\nr,m,v,b\n"}, "lists v twice"),
    ("msr_vtt", "test", {TEST_CSV: HEADER}, "the test split of .* is empty"),
    ("msr_vtt", "test", {TEST_CSV: (HEADER + "r,m,v,é\n").encode("latin1")},
     "row 1: it is not UTF-8"),
    ("msr_vtt", "train", clip4clip() | {"MSRVTT_data.json": "{"}, "it is no JSON"),
    ("msr_vtt", "train", clip4clip() | {"MSRVTT_data.json": "[]"}, "no list 'sentenc"),
    ("msr_vtt", "train",
     clip4clip() | {"MSRVTT_data.json": '{"sentences": [{"video_id": 3}]}'},
     "row 1: this entry of 'sentences' has no text 'video_id'"),
    ("msr_vtt", "train", clip4clip() | {"MSRVTT_train.9k.csv": "video_id\nvideo7\n"},
     "row 1: video7 has no caption in .*MSRVTT_data.json"),
    ("msr_vtt", "test", frozen() | {CHOSEN: pickle.dumps({"video9770": 3})},
     "video9770 has 3 captions, not one 3"),
    ("msr_vtt", "test", frozen() | {CHOSEN: pickle.dumps([1])}, "numbers by video"),
    ("msr_vtt", "test", frozen() | {CHOSEN: b"rubbish"}, "no plain pickle"),
    ("msr_vtt", "test", frozen() | {CHOSEN: pickle.dumps(Evil())}, "no plain pickle"),
    ("audiocaps", "test", {"test.csv": AUDIO + "1,a,1,b\n2,a,soon,b\n"},
     "row 2: 'soon' is no start_time"),
    ("audiocaps", "test", {"test.csv": AUDIO + "1,a,-1,b\n"}, "row 1: '-1' is no"),
    ("clotho", "dev", {}, "no split 'dev'"),
    ("vatex", "test", {}, "name one of msr_vtt, audiocaps, clotho"),
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
    with pytest.raises(Reject, match=said):
        read_benchmark(protocol, write(tmp_path, files), split)
    assert "ran" not in capsys.readouterr().out


def test_a_record_without_a_key_is_named(tmp_path: Path) -> None:
    import tensorflow as tf

    from transforms.clip_record import encode, write_records

    run = write_run(tmp_path / "run", [clip_record(0, ["a"], frames=2)], shards=1)
    example = tf.train.SequenceExample.FromString(
        encode(clip_record(0, ["a"], frames=2))
    )
    del example.context.feature["caption/string"]
    shard = run / "clips" / "clips-00000-of-00001.tfrecord"
    write_records(str(shard), [example.SerializeToString()])
    manifest = json.loads((run / "run.json").read_text())
    manifest["files"][0]["bytes"] = shard.stat().st_size
    (run / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(Reject, match=r"the record at byte 12 of .*caption/string is m"):
        run_benchmark(str(run), verify=False)


def test_the_table_is_read_as_csv_reads_it(tmp_path: Path) -> None:
    with (tmp_path / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["audiocap_id", "youtube_id", "start_time", "caption"])
        writer.writerow([1, "-a_B", 0, 'says "hi",\nthen leaves'])
    (caption,) = read_benchmark("audiocaps", str(tmp_path)).captions
    assert caption == 'says "hi",\nthen leaves'
