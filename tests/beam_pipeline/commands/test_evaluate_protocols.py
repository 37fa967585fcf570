"""`clipseed evaluate --protocol`: made media in every published layout, end to end."""

import importlib.util
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.cli import main
from clipseed.run.clip_record import decode
from clipseed.run.reader import Run
from models.retrieval.evaluate import EmbeddedRun, evaluate
from tests.support.made_media import film, tone, write_sound, write_video
from tests.support.models.tiny_config import write_config
from tests.support.tiny_run import clip_record, write_run

HEADER = "key,vid_key,video_id,sentence\n"
TEST = {1: "a red square, turning", 2: "a dog", 3: "someone sings"}


def video(path: Path, scene: int, seconds: float = 1.0, sound: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    heard = tone(seconds) if sound else None
    write_video(path, film(scene, seconds, 64, 48), sound=heard)


def clip4clip_layout(folder: Path) -> None:
    rows = [f'ret{n},msr{n},video{n},"{text}"\n' for n, text in TEST.items()]
    (folder / "MSRVTT_JSFUSION_test.csv").write_text(HEADER + "".join(rows))
    (folder / "MSRVTT_train.9k.csv").write_text("video_id\nvideo7\nvideo8\nvideo9\n")
    sentences = [
        {"video_id": f"video{n}", "caption": f"caption {c} of {n}"}
        for n in (7, 8, 9) for c in range(3)
    ]  # fmt: skip
    (folder / "MSRVTT_data.json").write_text(json.dumps({"sentences": sentences}))


def frozen_layout(folder: Path) -> None:
    lists = folder / "high-quality" / "structured-symlinks"
    for made in (lists, folder / "annotation"):
        made.mkdir(parents=True)
    captions = [
        {"image_id": f"video{n}", "caption": text}
        for n in TEST for text in ("another one", TEST[n])
    ]  # fmt: skip
    content = json.dumps({"annotations": captions})
    (folder / "annotation" / "MSR_VTT.json").write_text(content)
    (lists / "val_list_jsfusion.txt").write_text("".join(f"video{n}\n" for n in TEST))
    chosen = pickle.dumps({f"video{n}": 1 for n in TEST})
    (lists / "jsfusion_val_caption_idx.pkl").write_bytes(chosen)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write MSR-VTT's: video2 lacks sound, video3 is a dead link, video8 broken."""
    folder = tmp_path_factory.mktemp("videos")
    video(folder / "TestVideo" / "video1.mp4", 1)
    video(folder / "TestVideo" / "video2.mp4", 2, sound=False)
    for number in (7, 9):
        video(folder / "TrainValVideo" / f"video{number}.mp4", number)
    (folder / "TrainValVideo" / "video8.mp4").write_bytes(b"no video")
    return str(folder)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("untrained")
    config = write_config(folder / "config.py")
    flags = [f"--output={folder / 'model'}", "--set=epochs=0"]
    assert main(["train", config, *flags]) == 0
    return str(folder / "model")


def measured(model: str, folder: Path, *flags: str) -> dict:
    figures = folder / "figures.json"
    assert main(["evaluate", model, f"--output={figures}", *flags]) == 0
    return json.loads(figures.read_text())


def flags_of(folder: Path, videos: str) -> list[str]:
    kept = f"--clips={folder / 'clips'}"
    return ["--protocol=msr_vtt", f"--annotations={folder}", f"--videos={videos}", kept]


def test_msr_vtt(
    tmp_path: Path, videos: str, untrained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clip4clip_layout(tmp_path)
    found = measured(untrained, tmp_path, *flags_of(tmp_path, videos))
    assert found["benchmark"] == "msr_vtt/test" and found["modality"] == "A+V"
    assert found["setting"] == "zero-shot" and found["trained_on"] == []
    # Three queries among three candidates, though one video is not there.
    for direction in ("text_to_clip", "clip_to_text"):
        figures = found[direction]
        assert (figures["queries"], figures["candidates"]) == (3, 3)
        assert figures["recall"][1] == 100 and figures["mean_rank"] >= 5 / 3
    assert list(found["missing"]) == ["video3"]
    assert "not_found" in found["missing"]["video3"]
    assert found["paper"]["VideoCC3M, A+V, zero-shot"]["recall"] == [20.4, 39.5, 50.3]
    table = (tmp_path / "figures.md").read_text()
    assert table in capsys.readouterr().out
    assert "| text to clip: A+V, zero-shot |" in table
    assert "Clips missing, counted as found last: 1\n- video3: not_f" in table
    assert "| paper, MSR-VTT 1k-A: CLIP4Clip, WiT, V, zero-shot | 30.6 |" in table
    assert main(["inspect", str(tmp_path / "clips")]) == 2
    assert "was not mined but cut from a benchmark" in capsys.readouterr().err


@pytest.mark.ci_only
def test_msr_vtt_for_captions(tmp_path: Path, videos: str) -> None:
    """Train on the training split, write about the test split."""
    splits = {7: "train", 8: "train", 9: "train", 1: "test", 2: "test", 3: "test"}
    captions = [f"a caption {number}" for number in range(20)]
    table = {
        "videos": [
            {"video_id": f"video{n}", "split": split} for n, split in splits.items()
        ],
        "sentences": [
            {"video_id": f"video{n}", "caption": text}
            for text in captions
            for n in splits
        ],
    }
    (tmp_path / "MSRVTT_data.json").write_text(json.dumps(table))
    flags = [f"--annotations={tmp_path}", f"--videos={videos}"]
    run, model = tmp_path / "train", tmp_path / "model"
    assert main(["cut-benchmark", "msr_vtt_captions", f"--output={run}", *flags]) == 0
    config = write_config(tmp_path / "config.py", "TINY_CAPTIONING")
    assert main(["train", config, f"--data={run}", f"--output={model}"]) == 0
    found = measured(str(model), tmp_path, "--protocol=msr_vtt_captions", *flags)
    assert found["benchmark"] == "msr_vtt_captions/test"
    assert found["setting"] == "fine-tuned" and list(found["missing"]) == ["video3"]
    assert sorted(found["captions"]) == ["video1", "video2"]
    assert all(each["captions"] == captions for each in found["captions"].values())
    assert np.isfinite(found["loss"])
    measurable = shutil.which("java") and importlib.util.find_spec("pycocoevalcap")
    assert (found["scores"] is None) == (not measurable)
    assert found["paper"]["VideoCC3M, V, zero-shot"]["CIDEr"] == 8.24


@pytest.mark.ci_only
def test_kept_clips_are_measured_again(
    tmp_path: Path, videos: str, untrained: str
) -> None:
    frozen_layout(tmp_path)
    flags = flags_of(tmp_path, videos)
    found = measured(untrained, tmp_path, *flags)
    assert list(found["missing"]) == ["video3"]
    # Nothing is cut again: nothing of the videos is needed.
    flags[2] = f"--videos={tmp_path / 'nowhere'}"
    assert measured(untrained, tmp_path, *flags) == found
    left = measured(untrained, tmp_path, *flags, "--leave_out")
    assert left["text_to_clip"]["candidates"] == left["clip_to_text"]["queries"] == 2
    # To one that only listens, a film without sound is missing too.
    heard = measured(untrained, tmp_path, *flags, "--modality=A")
    assert sorted(heard["missing"]) == ["video2", "video3"] and heard["modality"] == "A"
    assert heard["text_to_clip"]["queries"] == 3


@pytest.mark.ci_only
def test_fine_tuned_is_said(
    tmp_path: Path, videos: str, capsys: pytest.CaptureFixture[str]
) -> None:
    clip4clip_layout(tmp_path)
    where = [f"--annotations={tmp_path}", f"--videos={videos}"]
    run, model = tmp_path / "train_run", tmp_path / "model"
    assert main(["cut-benchmark", "msr_vtt", *where, f"--output={run}"]) == 0
    said = capsys.readouterr()
    assert "2 clips of msr_vtt/train" in said.out and "missing video8" in said.err
    config = write_config(tmp_path / "config.py")
    settings = [f"--output={model}", "--set=epochs=4"]
    assert main(["train", config, f"--data={run}", *settings]) == 0
    found = measured(str(model), tmp_path, *flags_of(tmp_path, videos))
    assert found["setting"] == "fine-tuned"
    assert found["trained_on"][0]["benchmark"] == "msr_vtt/train"
    again = measured(str(model), tmp_path, f"--data={run}")
    assert again["setting"] == "trained on these very clips"
    assert again["text_to_clip"]["queries"] == 9  # video8's three captions too.
    # What starts from it has seen what it saw.
    tuned = tmp_path / "tuned"
    flags = [f"--output={tuned}", "--set=epochs=0", f"--set=init={model}"]
    assert main(["train", config, *flags]) == 0
    assert measured(str(tuned), tmp_path, f"--data={run}")["setting"] != "zero-shot"


# --- sounds --------------------------------------------------------------------------


def audiocaps(folder: Path) -> list[str]:
    """Full videos, trimmed sounds, and a start beyond the end."""
    rows = ["1,full,2,it barks", "2,cut,30,rain", "3,full,2,a dog", "4,short,40,bells"]
    rows += ["5,gone,0,nothing", "6,full,0,it starts"]
    header = "audiocap_id,youtube_id,start_time,caption\n"
    (folder / "test.csv").write_text(header + "\n".join(rows) + "\n")
    media = folder / "media"
    video(media / "full.mp4", 1, seconds=13)
    write_sound(media / "Ycut.wav", tone(10))
    write_sound(media / "short.wav", tone(15))
    return [f"--annotations={folder}", f"--videos={media}"]


def clotho(folder: Path) -> list[str]:
    names = [f"caption_{n}" for n in range(1, 6)]
    rows = ["Café 1.wav,a,b,c,d,e", "x.wav,f,g,h,i,j"]
    content = "\n".join([",".join(["file_name", *names]), *rows])
    annotations = folder / "clotho_captions_evaluation.csv"
    annotations.write_text(content + "\n", encoding="iso-8859-1")
    media = folder / "evaluation"
    media.mkdir()
    for name in ("Cafe\u0301 1.wav", "x.wav"):  # As some file systems have it.
        write_sound(media / name, tone(16))
    return [f"--annotations={folder}", f"--videos={media}"]


def test_audiocaps_is_cut(tmp_path: Path) -> None:
    clips = str(tmp_path / "clips")
    flags = [*audiocaps(tmp_path), "--split=test", f"--output={clips}"]
    assert main(["cut-benchmark", "audiocaps", *flags]) == 0
    run = Run.open(clips, verify="checksums").open_clips()
    assert run.benchmark is not None
    missing = {clip.clip_id: clip.message for clip in run.benchmark.missing}
    assert sorted(missing) == ["gone_0", "short_40"]
    assert "ends at 15.0 s" in missing["short_40"]
    records = {r.clip_id: r for r in map(decode, map(run.read, range(len(run))))}
    assert set(records) == {"full_2", "full_0", "cut_30"}
    whole = records["full_2"]
    assert (whole.start_us, whole.end_us) == (2_000_000, 12_000_000)
    assert len(whole.frames) == 250 and len(whole.samples) == 160_000
    assert [c.text for c in whole.captions] == ["it barks", "a dog"]
    alone = records["cut_30"]
    assert (alone.start_us, alone.end_us, alone.frames) == (0, 10_000_000, ())
    assert len(alone.log_mel) == 1000 and alone.sound_verdict == "ok"


@pytest.mark.ci_only
def test_sounds_are_measured(tmp_path: Path, untrained: str) -> None:
    flags = ["--protocol=audiocaps", *audiocaps(tmp_path), "--modality=A"]
    found = measured(untrained, tmp_path, *flags)
    counts = [found["text_to_clip"][name] for name in ("queries", "candidates")]
    assert counts == [6, 5] and len(found["missing"]) == 2
    found = measured(untrained, tmp_path, "--protocol=clotho", *clotho(tmp_path))
    assert found["missing"] == {}
    assert found["text_to_clip"]["queries"] == 10
    assert found["clip_to_text"]["queries"] == 2
    table = (tmp_path / "figures.md").read_text()
    assert "| paper, Clotho: VideoCC3M, A, zero-shot | 3.0 |" in table


# --- what is missing, what is wrong --------------------------------------------------


def test_what_is_missing_is_found_last() -> None:
    vectors = np.eye(4, dtype=np.float32)
    clips, relevant = vectors.copy(), np.eye(4, dtype=bool)
    clips[3] = 0
    embedded = EmbeddedRun(list("abcd"), clips, list("wxyz"), vectors, relevant, {})
    missing = embedded._replace(missing={"d": "gone"})
    for found in evaluate(missing).values():
        assert found.recall[0] == 75 and found.mean_rank == (1 + 1 + 1 + 4) / 4
    for found in evaluate(missing, leave_out=True).values():
        assert found.recall[0] == 100 and (found.queries, found.candidates) == (3, 3)
    # Even where all else is unlike the captions.
    unlike = missing._replace(texts=-vectors)
    assert evaluate(unlike)["text_to_clip"].mean_rank == (3 + 3 + 3 + 4) / 4


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "give --data, or --protocol"),
        (["--data=x", "--protocol=clotho"], "give --data, or --protocol"),
        (["--protocol=clotho", "--annotations=x"], "give --data, or --protocol"),
        (["--protocol=msr_vtt", "--annotations={}", "--videos={}/no"],
         "no does not exist"),
        (["--protocol=msr_vtt", "--annotations={}", "--videos={}"],
         "none of the 3 clips of msr_vtt/test can be cut; the first, video1"),
        (["--protocol=msr_vtt", "--annotations={}", "--videos={}", "--clips={}/run"],
         "holds another run"),
    ],
)  # fmt: skip
def test_wrong_flags_are_said(
    tmp_path: Path,
    untrained: str,
    flags: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clip4clip_layout(tmp_path)
    write_run(tmp_path / "run", [clip_record(0, ["x"], frames=2)])
    given = [flag.format(tmp_path) for flag in flags]
    assert main(["evaluate", untrained, *given]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.ci_only
def test_a_model_without_ears_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", [clip_record(0, ["x"], frames=2)])
    config = write_config(tmp_path / "config.py", "deaf(TINY_TRAINING)")
    model = str(tmp_path / "model")
    assert main(["train", config, f"--output={model}", "--set=epochs=0"]) == 0
    assert main(["evaluate", model, f"--data={run}", "--modality=A"]) == 2
    assert "takes V, not A" in capsys.readouterr().err
