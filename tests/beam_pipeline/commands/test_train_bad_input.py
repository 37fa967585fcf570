"""Bad input of `clipseed train` and `clipseed evaluate`, and what users are told."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.cli import main
from clipseed.run.clip_record import ClipRecord, encode
from clipseed.run.files import PAIRS_CSV, describe_file
from clipseed.run.manifest import RunManifest
from clipseed.run.writer import RunWriter
from tests.support.models.tiny_config import write_config
from tests.support.tiny_run import clip_record, write_run

CAPTIONS = [
    "word " * 40 + "one",
    "word " * 40 + "two",
    "一只狗在草地上奔跑",
    "🎸🔥",
    "كلب يركض على العشب",
    "a dog runs",
]


def make_run(directory: Path, records: list[ClipRecord]) -> Path:
    return write_run(directory, records, shards=1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_config(tmp_path_factory.mktemp("configs") / "config.py")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [clip_record(i, [text], frames=8) for i, text in enumerate(CAPTIONS)]
    return make_run(tmp_path_factory.mktemp("runs") / "good", records)


@pytest.fixture(scope="module")
def model(good: Path, config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not trained, but with a vocabulary."""
    output = tmp_path_factory.mktemp("models") / "model"
    flags = [f"--data={good}", f"--output={output}", "--set=epochs=0"]
    assert main(["train", config, *flags]) == 0
    return output


Said = pytest.CaptureFixture[str]


def refused(capsys: Said, *arguments: str, status: int = 2) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == status
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


# --- records -------------------------------------------------------------------------


def without(key: str) -> Callable[[Any], None]:
    def change(example: Any) -> None:
        for features in (example.context.feature, example.feature_lists.feature_list):
            if key in features:
                del features[key]

    return change


def integer(key: str, value: int) -> Callable[[Any], None]:
    def change(example: Any) -> None:
        example.context.feature[key].int64_list.value[:] = [value]

    return change


def caption(text: bytes) -> Callable[[Any], None]:
    def change(example: Any) -> None:
        example.context.feature["caption/string"].bytes_list.value[:] = [text]

    return change


def spoil_jpegs(example: Any) -> None:
    for step in example.feature_lists.feature_list["image/encoded"].feature:
        step.bytes_list.value[:] = [b"\xff\xd8 no jpeg"]


def no_caption(example: Any) -> None:
    for name, kind in (("caption/string", "bytes"), ("seed/id", "bytes"),
                       ("seed/image", "bytes"), ("match/similarity", "float"),
                       ("match/rank", "int64"), ("match/time", "int64")):  # fmt: skip
        del getattr(example.context.feature[name], f"{kind}_list").value[:]


def bad_run(folder: Path, change: Callable[[Any], None]) -> Path:
    """Write a good record and a changed one, with the change in the manifest."""
    import tensorflow as tf

    good, other = (clip_record(i, ["x"], frames=4) for i in (0, 1))
    run = make_run(folder, [good, other])
    example = tf.train.SequenceExample.FromString(encode(other))
    change(example)
    writer = RunWriter(str(run))
    clips = writer.write_clips(0, 1, [encode(good), example.SerializeToString()])
    pairs = describe_file(str(run / PAIRS_CSV), PAIRS_CSV, 2)
    writer.finish(RunManifest((clips, pairs)))
    return run


BOTH, TRAINING = ("train", "evaluate"), ("train",)


@pytest.mark.parametrize(
    ("change", "said", "commands"),
    [
        (integer("clip/layout_version", 7), "layout is 7, this program reads 1",
         ("evaluate",)),
        (no_caption, "has no caption", TRAINING),
        *(pytest.param(*case, marks=pytest.mark.ci_only) for case in (
            (without("clip/id"), "clip/id", BOTH),
            (without("caption/string"), "caption/string", TRAINING),
            (without("image/encoded"), "image/encoded", BOTH),
            (without("melspec/feature/floats"), "melspec/feature/floats", BOTH),
            (spoil_jpegs, "frame 0 is not a JPEG", BOTH),
            (caption(b"  "), "captions is empty", BOTH),
            (integer("clip/layout_version", 7), "layout is 7", TRAINING),
            (integer("melspec/frame_count", 500), "floats for 500 frames", BOTH),
        )),
    ],
)  # fmt: skip
def test_a_bad_record_is_named(
    config: str,
    model: Path,
    tmp_path: Path,
    capsys: Said,
    change: Callable[[Any], None],
    said: str,
    commands: tuple[str, ...],
) -> None:
    run = bad_run(tmp_path / "run", change)
    starts = {
        "train": ["train", config, f"--output={tmp_path / 'out'}"],
        "evaluate": ["evaluate", str(model)],
    }
    for command in commands:
        told = refused(capsys, *starts[command], f"--data={run}")
        assert "the record at byte" in told and f"of {run}" in told and said in told


@pytest.mark.ci_only
def test_a_loss_that_is_no_number_stops_with_its_clips(
    config: str, tmp_path: Path, capsys: Said
) -> None:
    good = clip_record(0, ["x"], frames=4)
    bad = dataclasses.replace(good, clip_id="sick", log_mel=np.full((16, 128), np.nan))
    bad = dataclasses.replace(bad, log_mel=bad.log_mel.astype(np.float32))
    run = make_run(tmp_path / "run", [good, bad])
    output = tmp_path / "out"
    flags = [f"--data={run}", f"--output={output}"]
    told = refused(capsys, "train", config, *flags, status=1)
    assert "step 1" in told and "sick" in told and str(output) in told
    assert (output / "checkpoints" / "0").is_dir()


# --- the run -------------------------------------------------------------------------


def spoil(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: shutil.rmtree(run / "clips"), "clips-00000-of-00001.tfrecord"),
        (lambda run: spoil(run / "clips" / "clips-00000-of-00001.tfrecord",
                           b"a dog runs", b"a cat runs"), "checksum"),
        (lambda run: (run / "run.json").unlink(), "not a finished run"),
        (lambda run: (run / "run.json").write_text("[1]"), "has the format None"),
        (lambda run: spoil(run / "run.json", b"clipseed-run/3", b"clipseed-run/9"),
         "clipseed-run/9"),
        (lambda run: spoil(run / "run.json", b'"bytes"', b'"size"'), "is not a file"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_named(
    good: Path,
    config: str,
    tmp_path: Path,
    capsys: Said,
    change: Callable[[Path], None],
    said: str,
) -> None:
    run = tmp_path / "run"
    shutil.copytree(good, run)
    change(run)
    flags = [f"--data={run}", f"--output={tmp_path / 'out'}"]
    told = refused(capsys, "train", config, *flags)
    assert said in told and str(run) in told


# --- the checkpoint ------------------------------------------------------------------


def test_a_checkpoint_of_another_configuration_is_refused(
    good: Path, config: str, model: Path, tmp_path: Path, capsys: Said
) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    spoil(other / "config.json", b'"embedding": 8', b'"embedding": 4')
    told = refused(capsys, "evaluate", str(other), f"--data={good}")
    assert "another configuration" in told and "clip_projection" in told
    flags = [f"--data={good}", "--set=epochs=0", "--set=task.model.embedding=4"]
    told = refused(capsys, "train", config, f"--output={model}", *flags)
    assert "holds a run with another task" in told
    flags += [f"--output={tmp_path / 'new'}", f"--set=init={model}"]
    told = refused(capsys, "train", config, *flags)
    assert "another configuration" in told and "text_projection" in told
    spoil(other / "config.json", b'"DualEncoderTask"', b'"TripleEncoderTask"')
    told = refused(capsys, "evaluate", str(other), f"--data={good}")
    assert "not 'TripleEncoderTask'" in told


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("config.json", "is damaged"), ("tokenizer.json", "not a tokenizer"),
     ("checkpoints/*/default/manifest.ocdbt", "is not what was written")],
)  # fmt: skip
def test_a_truncated_file_of_a_model_is_one_line(
    good: Path, model: Path, tmp_path: Path, capsys: Said, pattern: str, said: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    (path,) = copy.glob(pattern)
    path.write_bytes(path.read_bytes()[:-9])
    told = refused(capsys, "evaluate", str(copy), f"--data={good}")
    assert said in told and len(told.splitlines()) == 1


# --- captions ------------------------------------------------------------------------


def test_captions_of_any_length_and_script(
    good: Path, model: Path, tmp_path: Path, capsys: Said
) -> None:
    """Cropped ones are the same to the model; that is said, and counts as a tie."""
    figures = tmp_path / "figures.json"
    flags = [f"--data={good}", f"--output={figures}"]
    assert main(["evaluate", str(model), *flags]) == 0
    told = json.loads(figures.read_text())
    assert told["captions_alike"] == 2 and told["text_to_clip"]["queries"] == 6
    assert "words that it does not know): 2" in capsys.readouterr().out
