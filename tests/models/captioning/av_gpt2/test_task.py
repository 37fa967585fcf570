"""AV-GPT2 as a configuration: trained, resumed, measured; and what it starts from."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from beam_pipeline.cli import main
from clipseed.errors import InputError
from models.backbones.text_decoder.gpt2 import load_gpt2
from models.captioning.av_gpt2.model import AvGpt2Config
from models.captioning.av_gpt2.task import AvGpt2Task
from models.captioning.evaluation import coco
from models.captioning.task import caption_writer
from models.data.loader import Source
from models.training.config import load_config
from models.training.load import load_trained
from models.training.loop import train
from models.training.overrides import override
from tests.support.models.tiny_config import (
    TINY_CAPTIONING,
    TINY_TRAINING,
    write_config,
)
from tests.support.reference import PARITY, needs_references
from tests.support.tiny_run import clip_record, write_run

WORDS = ("black", "gray", "white")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    records = [
        clip_record(4 * i, [f"a {word} wall"], frames=25, sound=i != 1)
        for i, word in enumerate(WORDS)
    ]
    return str(write_run(tmp_path_factory.mktemp("runs") / "run", records))


@pytest.fixture(scope="module")
def retrieval(tmp_path_factory: pytest.TempPathFactory, run_dir: str) -> str:
    """Return a dual encoder as initialized, of another seed than the captioner's."""
    output = str(tmp_path_factory.mktemp("retrieval") / "model")
    settings = ["epochs=0", "seed=7", "task.mel_mean=3.0"]
    config = dataclasses.replace(TINY_TRAINING, data=(Source(run_dir),))
    train(override(config, settings), output)
    return output


def leaves(module: nnx.Module) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(module))]


def same(one: nnx.Module, other: nnx.Module) -> bool:
    pairs = zip(leaves(one), leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def train_tiny(run_dir: str, folder: Path, *settings: str) -> str:
    """Train a captioner of one layer by the command; return its directory."""
    config, model = write_config(folder / "c.py", "TINY_CAPTIONING"), folder / "model"
    layers = [f"task.model.{part}.layers=1" for part in ("clips", "decoder")]
    layers.append("task.model.clips.fusion_layer=0")
    given = ["batch_size=3", "optimizer.learning_rate=0.01", "task.mel_mean=3.0"]
    flags = [f"--set={setting}" for setting in (*layers, *given, *settings)]
    assert (
        main(["train", config, f"--data={run_dir}", f"--output={model}", *flags]) == 0
    )
    return str(model)


@pytest.mark.ci_only
def test_an_interrupted_run_resumes_to_the_same_bits(
    run_dir: str, tmp_path: Path
) -> None:
    settings = ["epochs=6", "checkpoint_every=4"]
    model = train_tiny(run_dir, tmp_path, *settings)
    whole = load_trained(model).model
    shutil.rmtree(Path(model) / "checkpoints" / "6")
    assert same(load_trained(model).model, whole) is False
    train_tiny(run_dir, tmp_path, *settings)
    assert same(load_trained(model).model, whole)


def test_it_learns_to_write(
    run_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = train_tiny(run_dir, tmp_path, "epochs=90")
    # Without Java there are captions and a loss, and no metrics of other tokens.
    monkeypatch.setattr(coco.shutil, "which", lambda name: None)
    figures = tmp_path / "figures.json"
    flags = [f"--data={run_dir}", f"--output={figures}", "--batch_size=2", "--beams=1"]
    assert main(["evaluate", model, *flags]) == 0
    found = json.loads(figures.read_text())
    written = {name: each["written"] for name, each in found["captions"].items()}
    assert written == {f"clip{4 * i}": f"a {word} wall" for i, word in enumerate(WORDS)}
    assert found["loss"] < 0.3 and found["modality"] == "A+V"
    assert all(
        each["ended"] and each["score"] < 0 for each in found["captions"].values()
    )
    assert found["scores"] is None and "java" in found["no_scores"]
    assert "No BLEU-4" in figures.with_suffix(".md").read_text()

    with pytest.raises(InputError) as caught:
        caption_writer(load_trained(model), max_tokens=33)
    assert caught.value.reason == "bad_generation_config"
    assert main(["evaluate", model, f"--data={run_dir}", "--segments=2"]) == 2


def test_the_encoder_of_a_retrieval_run(retrieval: str, tmp_path: Path) -> None:
    dual = load_trained(retrieval).model
    given = override(TINY_CAPTIONING, [f"task.encoder={retrieval}"])
    task = given.task.adopted()
    assert isinstance(task, AvGpt2Task) and task.mel_mean == 3.0
    assert same(given.task.init(0, given.compute).clips, dual.clips)

    # A model that only sees takes the stream of frames alone.
    seeing = override(given, ["task.model.clips.modalities=('video',)"])
    clips = seeing.task.init(0, seeing.compute).clips
    assert same(clips.streams["video"], dual.clips.streams["video"])
    assert list(clips.streams) == ["video"]

    # A trained model needs the run no more.
    output = str(tmp_path / "model")
    train(override(given, ["epochs=0"]), output)
    moved = json.loads((tmp_path / "model" / "config.json").read_text())
    moved["task"]["encoder"] = str(tmp_path / "gone")
    (tmp_path / "model" / "config.json").write_text(json.dumps(moved))
    trained = load_trained(output)
    assert same(trained.model.clips, dual.clips)
    # What its encoder has seen, it has seen.
    assert [seen.clips for seen in trained.lineage] == [len(WORDS)]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("task.model.clips.layers=3", "bad_config"),
        ("task.mel_mean=2.0", "bad_config"),
        ("task.encoder=nowhere", "no_training_run"),
    ],
)
def test_another_encoder_is_refused(retrieval: str, setting: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        override(TINY_CAPTIONING, [f"task.encoder={retrieval}", setting]).task.adopted()
    assert caught.value.reason == reason


@needs_references
def test_a_published_gpt2_writes(tmp_path: Path) -> None:
    gpt2 = str(PARITY / "gpt2")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    model = AvGpt2Config(clips=TINY_CAPTIONING.task.model.clips)  # type: ignore[attr-defined]
    task = AvGpt2Task(model=model, gpt2=gpt2, vocabulary=str(tmp_path)).adopted()
    decoder = task.model.decoder
    assert (decoder.context, decoder.vocabulary, decoder.hidden) == ("prefix", 128, 64)
    ours = task.init(0, TINY_CAPTIONING.compute)
    assert same(ours.decoder, load_gpt2(gpt2))
    assert task.pretrained(ours, resumed=False) == [ours.decoder]
    assert task.make_tokenizer([]).encode(["gray"], 4).ids.tolist() == [[2, 5, 3, 0]]


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(str, range(90))]) + "\n"
    )
    task = override(TINY_CAPTIONING, [f"task.vocabulary={tmp_path}"]).task
    for wrong, reason in (
        (lambda: task.make_tokenizer([]), "other_vocabulary"),
        (lambda: _set("decoder.max_tokens=16"), "bad_config"),
        (lambda: _set("decoder.context=cross"), "bad_model_config"),
    ):
        with pytest.raises(InputError) as caught:
            wrong()
        assert caught.value.reason == reason


def _set(setting: str) -> Any:
    return override(TINY_CAPTIONING, [f"task.model.{setting}"])


def test_the_published_settings() -> None:
    config = load_config("av_gpt2")
    optimizer = config.optimizer
    assert (optimizer.kind, optimizer.learning_rate) == ("adam", 1e-4)
    assert (optimizer.weight_decay, config.batch_size) == (0.01, 512)
    task = config.task
    assert isinstance(task, AvGpt2Task) and task.model.decoder.layers == 12
    assert load_config("tiny_av_gpt2").task.check() is None
