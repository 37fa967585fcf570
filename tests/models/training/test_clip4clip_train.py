"""CLIP4Clip as a configuration: trained, measured and searched like the other model."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from beam_pipeline.cli import main
from clipseed.errors import InputError
from models.retrieval.clip4clip import Clip4Clip
from models.training.config import TrainConfig
from models.training.load import load_trained
from models.training.overrides import override
from tests.support.models.tiny_config import TINY_CLIP4CLIP, write_config
from tests.support.paths import DATA
from tests.support.tiny_run import clip_record, write_run

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
CAPTIONS = [f"a {word} wall" for word in ("black", "dim", "gray", "white")]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    records = [
        clip_record(2 * i, [text], frames=25, sound=i != 2)
        for i, text in enumerate(CAPTIONS)
    ]
    return str(write_run(tmp_path_factory.mktemp("runs") / "run", records))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the reference checkpoint, its tables grown to all bytes and 32 words."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    folder = tmp_path_factory.mktemp("clip")
    shutil.copy(DATA / "parity" / "clip" / "config.json", folder)
    tensors = load_file(DATA / "parity" / "clip" / "model.safetensors")
    embeddings = "text_model.embeddings"
    grown = {"token_embedding": 514, "position_embedding": 32}
    for name, rows in grown.items():
        table = tensors[f"{embeddings}.{name}.weight"]
        tensors[f"{embeddings}.{name}.weight"] = np.resize(table, (rows, 64))
    save_file(tensors, folder / "model.safetensors")
    published = json.loads((folder / "config.json").read_text())
    text = {"vocab_size": 514, "eos_token_id": 513, "max_position_embeddings": 32}
    published["text_config"] |= text
    (folder / "config.json").write_text(json.dumps(published))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return str(folder)


def made(config: TrainConfig) -> nnx.Module:
    return config.task.init(config.seed, config.compute)


@pytest.mark.ci_only
def test_clip_is_tuned_measured_and_searched(
    run_dir: str, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "config.py", "TINY_CLIP4CLIP")
    model, index = tmp_path / "model", tmp_path / "index"
    settings = ["epochs=100", "batch_size=4", f"task.clip={checkpoint}"]
    settings.append("task.model.frames=3")
    flags = [f"--output={model}", *(f"--set={setting}" for setting in settings)]
    assert main(["train", config, f"--data={run_dir}", *flags]) == 0
    trained = load_trained(str(model))
    assert (
        isinstance(trained.model, Clip4Clip) and trained.config.task.model.frames == 3
    )

    figures = tmp_path / "figures.json"
    flags = [f"--data={run_dir}", f"--output={figures}"]
    assert main(["evaluate", str(model), *flags]) == 0
    found = json.loads(figures.read_text())
    assert found["text_to_clip"]["recall"][0] == 100 and found["modality"] == "V"
    flags = [f"--model={model}", f"--output={index}"]
    assert main(["index-clips", run_dir, *flags]) == 0
    capsys.readouterr()
    assert main(["search", "a dim wall", f"--index={index}", "--top_k=1"]) == 0
    assert "2.mp4  0.0-1.0 s  (a dim wall)" in capsys.readouterr().out


def test_no_epoch_keeps_clip_as_it_comes(checkpoint: str, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.py", "TINY_CLIP4CLIP")
    output = tmp_path / "model"
    flags = [f"--output={output}", "--set=epochs=0", f"--set=task.clip={checkpoint}"]
    assert main(["train", config, *flags]) == 0
    kept = nnx.state(load_trained(str(output)).model, nnx.Param)
    given = made(override(TINY_CLIP4CLIP, [f"task.clip={checkpoint}"]))
    leaves = zip(
        jax.tree.leaves(kept), jax.tree.leaves(nnx.state(given, nnx.Param)), strict=True
    )
    assert all(np.array_equal(a, b) for a, b in leaves)


@needs_data
def test_the_published_merges_are_kept_with_the_run(tmp_path: Path) -> None:
    merges = DATA / "models" / "clip_bpe_simple_vocab_16e6.txt.gz"
    text = "task.model.clip.text"
    sizes = [
        f"{text}.vocabulary=49408",
        f"{text}.end_id=49407",
        f"task.vocabulary={merges}",
    ]
    tokenizer = override(TINY_CLIP4CLIP, sizes).task.make_tokenizer([])
    assert tokenizer.size == 49408
    ids = tokenizer.encode(["a photo of a cat"], 8).ids
    assert ids.tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407, 0]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["task.model.clip.text.vocabulary=600"], "514 tokens.*vocabulary=514"),
        (["task.text=bert"], "no field 'task.text'"),
        (["task.model.clip.vision.input_size=[64, 32]"], "takes 64 x 32"),
    ],
)
def test_what_does_not_fit_is_said(settings: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        task = override(TINY_CLIP4CLIP, settings).task
        task.make_tokenizer([])
        assert task.segment


def test_another_checkpoint_is_said(checkpoint: str, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    shutil.copytree(checkpoint, folder)
    wider = override(
        TINY_CLIP4CLIP, [f"task.clip={folder}", "task.model.clip.projection=16"]
    )
    with pytest.raises(InputError, match=r"clip\.projection is 16, but"):
        made(wider)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.1, 0.1]}')
    with pytest.raises(InputError, match="another scale"):
        made(override(TINY_CLIP4CLIP, [f"task.clip={folder}"]))
