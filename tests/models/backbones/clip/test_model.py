import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from clipseed.errors import InputError
from models.backbones.clip.model import (
    Clip,
    ClipConfig,
    ClipTextConfig,
    ClipTextTower,
    unit,
)
from models.backbones.clip.weights import clip_config, load_clip, load_clip_image_tower
from tests.support.paths import DATA

PARITY = DATA / "parity" / "clip"
needs_parity = pytest.mark.skipif(
    not PARITY.is_dir(), reason="needs the reference checkpoints of shared/data/parity"
)
TINY = ClipTextConfig(
    hidden=32, layers=2, heads=4, mlp=48, vocabulary=50, max_tokens=9, end_id=49
)


def embed(clip: Clip, pixels: np.ndarray, ids: np.ndarray) -> tuple[jax.Array, ...]:
    @nnx.jit
    def run(clip: Clip, pixels: jax.Array, ids: jax.Array) -> tuple[jax.Array, ...]:
        images, texts = unit(clip.image(pixels)), unit(clip.text(ids))
        return images, texts, jnp.exp(clip.logit_scale[...]) * images @ texts.T

    return run(clip, jnp.moveaxis(pixels, 1, -1), jnp.asarray(ids))


@needs_parity
def test_reproduces_the_reference() -> None:
    io = np.load(PARITY / "io.npz")
    clip = load_clip(str(PARITY))
    got = embed(clip, io["in.pixel_values"], io["in.input_ids"])
    names = ("image_embeds", "text_embeds", "logits_per_image")
    for array, name in zip(got, names, strict=True):
        np.testing.assert_allclose(array, io[f"out.{name}"], atol=1e-4, err_msg=name)


@needs_parity
def test_the_image_tower_loads_alone(tmp_path: Path) -> None:
    whole = load_clip(str(PARITY)).image
    pixels = jax.random.normal(jax.random.key(0), (1, 64, 64, 3))
    wanted = np.asarray(whole(pixels))
    np.testing.assert_array_equal(load_clip_image_tower(str(PARITY))(pixels), wanted)

    tensors = load_file(PARITY / "model.safetensors")
    vision = {name: array for name, array in tensors.items() if name[:6] == "vision"}
    vision["visual_projection.weight"] = tensors["visual_projection.weight"]
    save_file(vision, tmp_path / "model.safetensors")
    published = json.loads((PARITY / "config.json").read_text())
    config = {**published["vision_config"], "projection_dim": 32}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tower = load_clip_image_tower(str(tmp_path))
    np.testing.assert_array_equal(tower(pixels), wanted)


@needs_parity
def test_takes_larger_pictures() -> None:
    clip = load_clip(str(PARITY))
    vision = dataclasses.replace(clip.config.vision, input_size=(96, 64))
    larger = load_clip(str(PARITY), dataclasses.replace(clip.config, vision=vision))
    assert larger.image.vit.positions.shape == (1 + 6 * 4, 64)
    pixels = jnp.ones((1, 96, 64, 3))
    assert larger.image(pixels).shape == (1, 32)


def test_a_text_ends_at_its_first_end_token() -> None:
    tower = ClipTextTower(TINY, 8, nnx.Rngs(0))
    short = tower(jnp.array([[48, 5, 6, 49]]))
    padded = tower(jnp.array([[48, 5, 6, 49, 0, 0], [48, 5, 6, 49, 49, 7]]))
    np.testing.assert_allclose(padded, jnp.repeat(short, 2, 0), atol=1e-5)
    other = tower(jnp.array([[48, 5, 7, 49]]))
    assert np.abs(other - short).max() > 1e-3


def test_refuses_texts_that_are_too_long() -> None:
    with pytest.raises(InputError, match="crop them"):
        ClipTextTower(TINY, 8, nnx.Rngs(0))(jnp.full((1, 10), 49))


def test_the_published_end_id_of_old_is_the_largest_id() -> None:
    assert clip_config({}) == ClipConfig()
    old = clip_config({"text_config": {"eos_token_id": 2, "vocab_size": 100}})
    assert old.text.end_id == 99
    new = clip_config({"text_config": {"eos_token_id": 97, "vocab_size": 100}})
    assert new.text.end_id == 97
