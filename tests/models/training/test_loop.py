"""Training end to end on made clips: learn, resume, stop at bad numbers, search."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.cli import main
from clipseed.errors import InputError
from models.backbones.bert.model import BertConfig
from models.data.augment import AugmentConfig
from models.data.loader import Source
from models.retrieval.dual_encoder import DualEncoderConfig
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.retrieval.mbt import AudioVisualConfig
from models.training.config import TrainConfig, load_config
from models.training.load import load_trained
from models.training.loop import train
from models.training.optimizers import OptimizerConfig
from models.training.overrides import override
from tests.support.paths import ROOT
from tests.support.tiny_run import clip_record, write_run

CLIPS = 6
WORDS = ("black", "dark", "dim", "gray", "pale", "white")


def small(run_dir: Path, settings: Sequence[str] = (), **changes: Any) -> TrainConfig:
    config = TrainConfig(
        data=(Source(str(run_dir)),),
        task=DualEncoderTask(
            model=DualEncoderConfig(
                clips=AudioVisualConfig(
                    hidden=32,
                    layers=2,
                    heads=2,
                    mlp=64,
                    frames=2,
                    frame_px=16,
                    video_patch=(1, 8, 8),
                    spectrogram_frames=16,
                    audio_patch=(16, 16),
                    bottlenecks=2,
                    fusion_layer=1,
                ),
                text=BertConfig(hidden=32, layers=1, heads=2, mlp=64, vocabulary=60),
                embedding=16,
            ),
            frame_stride=10,
            spectrogram_stride=5,
            mel_mean=3.0,
            mel_deviation=1.7,
            augment=AugmentConfig(
                flip=False, color=0.0, time_masks=0, frequency_masks=0
            ),
        ),
        optimizer=OptimizerConfig(kind="adam", learning_rate=3e-3, warmup=0.1),
        batch_size=6,
        epochs=150,
        checkpoint_every=20,
    )
    return override(dataclasses.replace(config, **changes), settings)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    captions = [f"a {word} wall" for word in WORDS]
    records = [clip_record(i, [captions[i]], sound=i != 2) for i in range(CLIPS)]
    return write_run(tmp_path_factory.mktemp("runs") / "run", records)


@pytest.fixture(scope="module")
def trained(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained") / "out"
    metrics = train(small(run_dir), str(output))
    assert metrics.named["accuracy"] == 1 and float(metrics.loss) < 0.5
    return output


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_learns_and_notes_what_it_did(trained: Path) -> None:
    noted = rows(trained)
    assert [int(row["step"]) for row in noted] == list(range(10, 151, 10))
    assert float(noted[0]["loss"]) > float(noted[-1]["loss"])
    assert any((trained / "tensorboard").iterdir())
    tokenizer = json.loads((trained / "tokenizer.json").read_text())["tokenizer"]
    assert set(WORDS) <= set(tokenizer["model"]["vocab"])
    assert json.loads((trained / "config.json").read_text())["batch_size"] == 6


def test_it_is_measured_and_searched(
    trained: Path, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    flags = [f"--data={run_dir}", f"--output={figures}"]
    assert main(["evaluate", str(trained), *flags]) == 0
    found = json.loads(figures.read_text())
    for direction in ("text_to_clip", "clip_to_text"):
        assert found[direction]["recall"][0] == 100.0
        assert found[direction]["queries"] == CLIPS
    assert "| text to clip | 100.0 | 100.0 | 100.0 | 1 | 1.0 | 6 | 6 |" in (
        capsys.readouterr().out
    )

    index = tmp_path / "index"
    flags = [f"--model={trained}", f"--output={index}"]
    assert main(["index-clips", str(run_dir), *flags]) == 0
    moved = tmp_path / "elsewhere" / "index"
    moved.parent.mkdir()
    index.rename(moved)  # What it was made of stays where it was.
    index, sheet = moved, tmp_path / "sheet.png"
    asked = ["--top_k=2", f"--index={index}", f"--sheet={sheet}"]
    capsys.readouterr()
    assert main(["search", "a pale wall", *asked]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "4.mp4  0.0-2.0 s  (a pale wall)" in first and "4.mp4" not in second
    assert sheet.read_bytes().startswith(b"\x89PNG")


def params(output: Path) -> list[np.ndarray]:
    import jax
    from flax import nnx

    return [
        np.asarray(x)
        for x in jax.tree.leaves(nnx.state(load_trained(str(output)).model))
    ]


_FAILS = """
import itertools, sys, time
from pathlib import Path
from models.training import loop
from clipseed.run.clips import RunClips
from tests.models.training.test_loop import small

run_dir, output, failing = sys.argv[1:]
reads, read = itertools.count(1), RunClips.read

def fail(*_):
    raise MemoryError("of the device")

def read_late(run, number):  # Reading continues when something fails.
    count = next(reads)
    time.sleep(4 if count in (11, 12) else 0.05)
    data = read(run, number)
    return data[:50] if failing == "record" and count == 10 else data

RunClips.read = read_late
if failing == "step":
    loop.make_step = lambda *_: fail
loop.train(small(Path(run_dir)), output)
"""


@pytest.mark.parametrize(
    ("failing", "says"),
    [("step", b"MemoryError: of the device"), ("record", b"a record cannot be read")],
)
def test_a_failure_ends_the_process(
    run_dir: Path, tmp_path: Path, failing: str, says: bytes
) -> None:
    command = [sys.executable, "-c", _FAILS, str(run_dir), str(tmp_path / "out")]
    paths = str(ROOT)
    done = subprocess.run(
        [*command, failing],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 1 and says in done.stderr


def test_a_killed_run_ends_as_an_undisturbed_one(
    trained: Path, run_dir: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.py"
    settings.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom tests.models.training.test_loop import small\n"
        f"config = small(Path({str(run_dir)!r}))\n"
    )
    output = tmp_path / "out"
    command = [sys.executable, "-m", "beam_pipeline.cli", "train", str(settings)]
    process = subprocess.Popen(
        [*command, f"--output={output}"], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while not (output / "checkpoints" / "20").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    train(load_config(str(settings)), str(output))
    pairs = zip(params(output), params(trained), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert [row["loss"] for row in rows(output)] == [r["loss"] for r in rows(trained)]


def test_another_configuration_is_refused(trained: Path, run_dir: Path) -> None:
    other = small(run_dir, seed=1, batch_size=3)
    with pytest.raises(InputError, match=r"other_config.*batch_size, seed"):
        train(other, str(trained))


def test_a_failed_start_leaves_nothing(run_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for wrong, reason in (
        ({"init": str(tmp_path / "absent")}, "no_checkpoint"),
        ({"batch_size": CLIPS + 1}, "batch_too_large"),
    ):
        with pytest.raises(InputError) as caught:
            train(small(run_dir, epochs=1, **wrong), str(output))
        assert caught.value.reason == reason


def test_numbers_that_are_not_finite_stop_the_run(
    run_dir: Path, tmp_path: Path
) -> None:
    settings = ["task.mel_deviation=1e-45"]  # Divided by, it overflows.
    wild = small(run_dir, settings, optimizer=OptimizerConfig())
    with pytest.raises(InputError, match=r"not_finite.*step 1;.*clip\d") as caught:
        train(wild, str(tmp_path / "out"))
    assert all(f"clip{i}" in caught.value.message for i in range(CLIPS))
    # The state before it is kept; corrected settings start over in its place.
    assert (tmp_path / "out" / "checkpoints" / "0").exists()
    assert np.isfinite(train(small(run_dir, epochs=1), str(tmp_path / "out")).loss)
    assert [row["step"] for row in rows(tmp_path / "out")] == ["1"]


def test_wrong_settings_are_said(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"--output={tmp_path / 'out'}"
    for flags, said in (
        (["giant", output], "av_gpt2, base, clip4clip, tiny"),
        (["none.py", output], "does not exist"),
        (["tiny", output], "name a run to train on"),
        (["tiny", output, "--set=depth=2"], "no field 'depth'"),
        (["tiny", output, f"--data={tmp_path}"], "is not a finished run"),
        (["tiny", output, f"--data={run_dir}", "--set=batch_size=1"], "a batch of 1"),
    ):
        assert main(["train", *flags]) == 2
        assert said in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path), f"--data={run_dir}"]) == 2
    assert "not a training run" in capsys.readouterr().err
