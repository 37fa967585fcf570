"""Checkpoints bring their settings to the tasks of retrieval."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from clipseed.errors import InputError
from clipseed.io import storage
from models.backbones.bert.model import BertConfig, load_bert
from models.backbones.clip.model import ClipTextConfig, ClipTextTower, unit
from models.backbones.clip.weights import load_clip
from models.backbones.vit.model import spectrogram_input
from models.backbones.vit.weights import load_vit
from models.data.clip_inputs import CaptionedClips, ClipInputs
from models.nn.attention import Compute
from models.pretrained.preprocessing import CLIP_SCALE
from models.retrieval.clip4clip import Clip4Clip
from models.retrieval.clip4clip_task import Clip4ClipTask
from models.retrieval.dual_encoder import DualEncoder, DualEncoderConfig
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.retrieval.mbt import AudioVisualConfig
from models.tokenizers.base import Tokens
from models.training.overrides import as_json, from_json
from models.training.step import divide, loss_and_gradients
from tests.support.paths import DATA

PARITY = DATA / "parity"
pytestmark = pytest.mark.skipif(
    not PARITY.is_dir(), reason="needs the reference checkpoints of shared/data/parity"
)
SMALL: dict[str, int] = {"hidden": 16, "layers": 1, "heads": 2, "mlp": 16}
# The sizes of the input are the run's; everything else is to come with checkpoints.
# What has none is small: to initialize the defaults' 12 layers costs seconds.
INPUT = AudioVisualConfig(
    frames=2, frame_px=64, spectrogram_frames=96, mel_bins=64, fusion_layer=2
)
MODEL = DualEncoderConfig(
    clips=INPUT, text=BertConfig(**SMALL, vocabulary=100), embedding=8
)
# The text is to be brought by a checkpoint.
BARE = DualEncoderConfig(
    clips=dataclasses.replace(INPUT, **SMALL, fusion_layer=1), embedding=8
)
AST, VIT, BERT, CLIP = (str(PARITY / n) for n in ("ast", "vit", "bert", "clip"))
PUBLISHED = Path(__file__).parents[1] / "tokenizers" / "published" / "clip"
PUBLISHED_SIZE = 918


def made(task: Any) -> Any:
    return task.init(0, Compute())


def changed(source: str, directory: Path, **settings: Any) -> str:
    """Copy a checkpoint, with other settings and the same tensors."""
    shutil.copytree(source, directory)
    config = json.loads((directory / "config.json").read_text())
    for name, value in settings.items():
        for part in (config, config.get("text_config"), config.get("vision_config")):
            if part is not None and name in part:
                part[name] = value
    (directory / "config.json").write_text(json.dumps(config))
    return str(directory)


def test_an_ast_is_the_audio_stream() -> None:
    """The stream, before it exchanges anything, has the reference's output."""
    task = DualEncoderTask(model=MODEL, audio=AST).adopted()
    assert (task.model.clips.audio_extra_tokens, task.model.clips.hidden) == (2, 64)
    stream = made(task).clips.streams["audio"]
    io = np.load(PARITY / "ast" / "io.npz")
    found = stream(spectrogram_input(jnp.asarray(io["in.input_values"])))
    np.testing.assert_allclose(found, io["out.last_hidden_state"], atol=1e-4)


def test_an_ast_brings_the_scale_of_its_sound(tmp_path: Path) -> None:
    """Mean 0 and deviation 0.5, whatever the statistics of its own features were."""
    other = Path(changed(AST, tmp_path / "ast"))
    scale = {"feature_extractor_type": "ASTFeatureExtractor", "mean": -6.8, "std": 5.5}
    sizes = {"num_mel_bins": 64, "max_length": 96, "sampling_rate": 16_000}
    (other / "preprocessor_config.json").write_text(json.dumps(scale | sizes))
    for directory in (AST, str(other)):
        task = DualEncoderTask(model=MODEL, audio=directory).adopted()
        usual = DualEncoderTask()
        assert task.segment.mel_deviation == usual.mel_deviation / 0.5
        assert task.segment.mel_mean == usual.mel_mean
        assert task.adopted() == task
    measured = DualEncoderTask(model=MODEL, audio=AST, mel_deviation=2.5)
    assert measured.adopted().mel_deviation == 2.5  # By who knows the data.
    assert DualEncoderTask(model=MODEL, audio=VIT).adopted().mel_deviation == 1.7


@pytest.mark.parametrize(
    "field",
    [
        {"num_mel_bins": 128},
        {"do_normalize": False},
        {"sampling_rate": 44_100},
        {"feature_extractor_type": "ClapFeatureExtractor"},
        {"std": 0.0},
        {"mean": "loud"},
    ],
)
def test_sound_that_clips_do_not_have_is_refused(
    field: dict[str, Any], tmp_path: Path
) -> None:
    other = Path(changed(AST, tmp_path / "ast"))
    (other / "preprocessor_config.json").write_text(json.dumps(field))
    with pytest.raises(InputError, match=next(iter(field))) as caught:
        DualEncoderTask(model=MODEL, audio=str(other)).adopted()
    assert caught.value.reason == "bad_checkpoint"


def test_an_ast_and_a_vit_train_side_by_side() -> None:
    task = DualEncoderTask(model=MODEL, vision=VIT, audio=AST).adopted()
    model = made(task)
    norms = {name: stream.norm for name, stream in model.clips.streams.items()}
    published = {
        "audio": load_file(f"{AST}/model.safetensors")["layernorm.weight"],
        "video": load_file(f"{VIT}/model.safetensors")["layernorm.weight"],
    }
    for name, norm in norms.items():
        np.testing.assert_array_equal(norm.scale[...], published[name])
    rng = np.random.default_rng(0)
    clips = ClipInputs(
        video=rng.integers(0, 256, (4, 2, 64, 64, 3), dtype=np.uint8),
        audio=rng.standard_normal((4, 96, 64), dtype=np.float32),
        has_video=np.ones(4, bool),
        has_audio=np.array([True, True, True, False]),
    )
    texts = Tokens(rng.integers(1, 90, (4, 8), dtype=np.int32), np.ones((4, 8), bool))
    compiled = jax.jit(loss_and_gradients, static_argnums=(0, 1))
    batch = CaptionedClips(clips, texts)
    (loss, _), gradients = compiled(task, *divide(task, model), batch)
    assert np.isfinite(loss)
    extra = gradients["clips"]["streams"]["audio"]["extra_tokens"]
    assert float(jnp.abs(jax.tree.leaves(extra)[0][1]).max()) > 0  # the second of two


def test_two_checkpoints_of_other_shapes_are_refused(tmp_path: Path) -> None:
    other = changed(VIT, tmp_path / "vit", layer_norm_eps=0.5)
    with pytest.raises(InputError, match="as norm_epsilon") as caught:
        DualEncoderTask(model=MODEL, vision=other, audio=AST).adopted()
    assert caught.value.reason == "bad_config"


# The same tensors with another configuration are another model, in training too.
each_setting = pytest.mark.parametrize(
    "setting",
    [{"hidden_act": "relu"}, {"layer_norm_eps": 0.5}, {"num_attention_heads": 2}],
)


def check(found: Any, wanted: Any, plain: Any) -> None:
    """Expect the changed checkpoint's output, and not that of the unchanged one."""
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(np.asarray(found) - plain).max() > 1e-4


@each_setting
def test_settings_of_a_bert_are_used(setting: dict[str, Any], tmp_path: Path) -> None:
    other = changed(BERT, tmp_path / "bert", **setting)
    given = np.random.default_rng(0).integers(1, 90, (2, 8)), np.ones((2, 8), bool)
    given = tuple(map(jnp.asarray, given))
    text = made(DualEncoderTask(model=BARE, text=other)).text
    check(text(*given), load_bert(other)(*given), load_bert(BERT)(*given))


@each_setting
def test_settings_of_a_vit_are_used(setting: dict[str, Any], tmp_path: Path) -> None:
    other = changed(VIT, tmp_path / "vit", **setting)
    shape = (1, 64, 64, 3)
    pixels = np.random.default_rng(0).standard_normal(shape, np.float32)
    clips = dataclasses.replace(INPUT, frames=1, video_patch=(1, 16, 16))
    model = made(
        DualEncoderTask(model=dataclasses.replace(MODEL, clips=clips), vision=other)
    )
    found = model.clips.streams["video"](pixels[:, None])
    check(found, load_vit(other)(pixels), load_vit(VIT)(pixels))


@each_setting
def test_settings_of_a_clip_are_used(setting: dict[str, Any], tmp_path: Path) -> None:
    other = changed(CLIP, tmp_path / "clip", **setting)
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, 64, 64, 3), np.uint8)
    model = made(Clip4ClipTask(clip=other))
    by_hand = (Clip4Clip(load_clip(directory)) for directory in (other, CLIP))
    check(*(each.encode_clips(ClipInputs(frames)) for each in (model, *by_hand)))


@each_setting
def test_settings_of_a_clips_text_are_used(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    other = changed(CLIP, tmp_path / "clip", **setting)
    ids = jnp.array([[126, 5, 6, 7, 127, 0]])
    tower = made(DualEncoderTask(model=BARE, text=other)).text
    by_hand = (load_clip(directory).text for directory in (other, CLIP))
    wanted, plain = (each.norm(end_of(each, ids)) for each in by_hand)
    check(tower(ids), wanted, plain)


def end_of(tower: ClipTextTower, ids: jax.Array) -> jax.Array:
    """Return what a text tower made of the end token, the fifth, before its norm."""
    tokens = tower.words(ids) + tower.positions(jnp.arange(ids.shape[1]))
    for block in tower.blocks:
        tokens = block(tokens)
    return tokens[:, 4]


def test_a_clip_is_the_text_encoder() -> None:
    """Its text tower up to the projection, which a clip is then compared by."""
    task = DualEncoderTask(model=BARE, text=CLIP).adopted()
    assert isinstance(task.model.text, ClipTextConfig) and task.adopted() == task
    settings = json.loads(json.dumps(as_json(task)))
    assert from_json(DualEncoderTask(), settings) == task
    model = made(task)
    io = np.load(PARITY / "clip" / "io.npz")
    ids = jnp.asarray(io["in.input_ids"])
    found = unit(load_clip(CLIP).text.projection(model.text(ids)))
    np.testing.assert_allclose(found, io["out.text_embeds"], atol=1e-4)
    vectors = model.encode_texts(Tokens(np.asarray(ids), np.ones(ids.shape, bool)))
    assert vectors.shape == (len(ids), MODEL.embedding)
    set_by_user = dataclasses.replace(BARE, text=BertConfig(layers=3))
    with pytest.raises(InputError, match="is a CLIP: leave it out") as caught:
        DualEncoderTask(model=set_by_user, text=CLIP).adopted()
    assert caught.value.reason == "bad_config"


def test_a_text_checkpoint_brings_its_vocabulary(tmp_path: Path) -> None:
    """CLIP's, whose last token ends a text for the tower as well."""
    directory = changed(
        CLIP, tmp_path / "clip", vocab_size=PUBLISHED_SIZE, eos_token_id=2
    )
    shutil.copytree(PUBLISHED, directory, dirs_exist_ok=True)
    task = DualEncoderTask(model=BARE, text=directory).adopted()
    tokenizer = task.make_tokenizer(["captions", "that", "do not matter"])
    assert (tokenizer.size, tokenizer.end_id) == (PUBLISHED_SIZE, PUBLISHED_SIZE - 1)
    other = changed(CLIP, tmp_path / "other")  # A tower for 128 tokens.
    shutil.copytree(PUBLISHED, other, dirs_exist_ok=True)
    with pytest.raises(InputError) as caught:
        DualEncoderTask(model=BARE, text=other).adopted().make_tokenizer([])
    assert caught.value.reason == "bad_vocabulary"


def test_checkpoints_may_be_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    """With the tokenizer that they bring."""
    directory = changed(
        CLIP, tmp_path / "clip", vocab_size=PUBLISHED_SIZE, eos_token_id=2
    )
    shutil.copytree(PUBLISHED, directory, dirs_exist_ok=True)
    for path in Path(directory).iterdir():
        storage.write_bytes(f"{bucket}/clip/{path.name}", path.read_bytes())
    local, there = (
        DualEncoderTask(text=place, vision=place).adopted()
        for place in (directory, f"{bucket}/clip")
    )
    assert (there.model, there.text) == (local.model, f"{bucket}/clip")
    assert there.make_tokenizer([]).to_json() == local.make_tokenizer([]).to_json()


def test_what_a_user_sets_against_it_is_an_error() -> None:
    model = dataclasses.replace(MODEL, text=BertConfig(layers=3))
    with pytest.raises(InputError, match=r"task\.model\.text\.layers is 3, but") as it:
        DualEncoderTask(model=model, text=BERT).adopted()
    assert it.value.reason == "bad_config"


def test_what_may_differ_is_kept_and_said(caplog: pytest.LogCaptureFixture) -> None:
    clips = dataclasses.replace(INPUT, frame_px=32)
    task = DualEncoderTask(model=dataclasses.replace(MODEL, clips=clips), vision=VIT)
    with caplog.at_level(logging.INFO):
        adopted = task.adopted()
    assert adopted.model.clips.frame_px == 32
    assert "task.model.clips.frame_px: 32; the checkpoint has 64" in caplog.text
    assert "task.model.clips.hidden: 64" in caplog.text
    assert adopted.adopted() == adopted
    assert isinstance(made(adopted), DualEncoder)


def test_a_stream_that_is_not_there_takes_no_checkpoint() -> None:
    clips = dataclasses.replace(INPUT, modalities=("video",))
    task = DualEncoderTask(model=dataclasses.replace(MODEL, clips=clips), audio=AST)
    with pytest.raises(InputError, match="no audio stream"):
        made(task)


def test_a_clip_is_the_video_stream() -> None:
    """Its image tower up to the projection, with its own scale of pixels."""
    clips = dataclasses.replace(INPUT, frames=1, video_patch=(1, 16, 16))
    model = dataclasses.replace(MODEL, clips=clips)
    task = DualEncoderTask(model=model, vision=CLIP).adopted()
    assert task.model.pixel_mean == CLIP_SCALE.mean
    stream = made(task).clips.streams["video"]
    io = np.load(PARITY / "clip" / "io.npz")
    pixels = jnp.moveaxis(jnp.asarray(io["in.pixel_values"]), 1, -1)
    projection = load_clip(CLIP).image.projection
    found = unit(projection(stream(pixels[:, None])[:, 0]))
    np.testing.assert_allclose(found, io["out.image_embeds"], atol=1e-4)
