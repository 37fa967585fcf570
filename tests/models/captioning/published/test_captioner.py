"""From a JPEG to the tokens of the reference implementation, and to a caption."""

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from clipseed.errors import InputError
from models.backbones.text_decoder.model import Context
from models.captioning.base import Search, refuse_other_vocabulary
from models.captioning.image_to_text import ImageToText, write_about
from models.captioning.published.captioner import Loaded, load_image_to_text
from models.captioning.published.vision_encoder_decoder import (
    vision_encoder_decoder_generation,
)
from models.captioning.registry import load_captioner
from models.pretrained.preprocessing import normalize
from models.pretrained.resizing import Resizing
from tests.support.models.made_captioner import spoil, write_captioner
from tests.support.paths import DATA
from tests.support.reference import PARITY_MODELS, jitted, needs_references
from transforms.media.images import ImageLimits, decode_image
from transforms.media.resize_picture import resize_picture

pytestmark = needs_references
FAMILIES = ("blip", "git", "vit_gpt2")
GREEDY = Search(beams=1, max_tokens=8)


@functools.cache
def published(family: str) -> tuple[Loaded, Any, jax.Array]:
    """Return a model, what the reference makes of JPEGs, and their pixels."""
    loaded = load_image_to_text(str(PARITY_MODELS / family))
    stored = np.load(PARITY_MODELS / family / "io.npz")
    names = [str(name) for name in stored["in.files"]]
    images = pictures(names, loaded.preprocessing.resizing)
    return loaded, stored, normalize(images, loaded.preprocessing.scale)


def pictures(names: list[str], resizing: Resizing) -> np.ndarray:
    """Return uint8 [n, s, s, 3], by the steps of `clipseed mine`."""
    files = [(DATA / "images" / name).read_bytes() for name in names]
    decoded = [decode_image(data, ImageLimits()) for data in files]
    return np.stack([resize_picture(rgb, resizing) for rgb in decoded])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_logits(family: str) -> None:
    loaded, stored, pixels = published(family)

    def run(model: ImageToText, ids: jax.Array, pixels: jax.Array) -> jax.Array:
        context = model.context(pixels)
        text = model.logits(ids, context)
        if family != "git":
            return text
        _, read = model.decoder.read_context(Context(context))
        return jnp.concatenate([model.decoder.logits(read), text], axis=1)

    ids = jnp.asarray(stored["in.tokens"], jnp.int32)
    got = jitted(loaded.model, run)(ids, pixels)
    np.testing.assert_allclose(got, stored["out.logits"], atol=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_published_tokens(family: str, beams: int) -> None:
    loaded, stored, pixels = published(family)
    config = dataclasses.replace(loaded.generation, beams=beams, max_tokens=12)
    found = jitted(loaded.model, lambda m, p: write_about(m, p, config))(pixels)
    wanted = stored["out.greedy" if beams == 1 else "out.beam3"]
    np.testing.assert_array_equal(found.ids, wanted)


def test_a_caption_ends_before_its_end_token(tmp_path: Path) -> None:
    captioner = load_captioner(write_captioner(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), np.uint8)
    captions = captioner.caption(images, GREEDY)
    assert [c.text for c in captions] == ["w124"] * 10  # more than one batch
    assert all(c.problem == "" and -20 < c.score < 0 for c in captions)
    assert captioner.captioner_id.startswith("blip@")
    with pytest.raises(InputError) as caught:
        captioner.caption(images, Search(1, 99))
    assert caught.value.reason == "bad_model_config"


def test_captions_that_must_not_be_used(tmp_path: Path) -> None:
    image = np.zeros((1, 64, 64, 3), np.uint8)
    endless = load_captioner(write_captioner(tmp_path / "endless", end_id=5))
    (caption,) = endless.caption(image, GREEDY)
    assert caption.problem == "endless_caption" and caption.text.startswith("w124 w43")
    empty = load_captioner(write_captioner(tmp_path / "empty", end_id=124))
    assert empty.caption(image, GREEDY)[0].problem == "empty_caption"
    broken = write_captioner(tmp_path / "broken")
    spoil(broken)
    (caption,) = load_captioner(broken).caption(image, GREEDY)
    assert caption == ("", -math.inf, "bad_logits")


def test_refuses_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json does not exist"):
        load_captioner(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="vit"):
        load_captioner(str(PARITY_MODELS / "vit_images"))
    directory = Path(write_captioner(tmp_path))
    tensors = load_file(directory / "model.safetensors")
    tensors.pop("text_decoder.cls.predictions.bias")
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: decoder\.head\.bias"):
        load_captioner(str(directory))


@pytest.mark.parametrize("size", [90, 124])
def test_refuses_another_vocabulary(tmp_path: Path, size: int) -> None:
    directory = Path(write_captioner(tmp_path))
    words = (directory / "vocab.txt").read_text().split()
    if size == 124:  # of the right size, but it ends by another token
        words[43], words[44] = words[44], words[43]
    (directory / "vocab.txt").write_text("\n".join(words + ["x", "y", "z"]))
    with pytest.raises(ValueError, match="tokenizer"):
        load_captioner(str(directory))


def test_a_vocabulary_may_be_rounded_up() -> None:
    refuse_other_vocabulary(30522, 30524, True)
    for size, vocabulary, known in ((30525, 30524, True), (50257, 50304, False),
                                    (30522, 50257, True)):  # fmt: skip
        with pytest.raises(InputError) as caught:
            refuse_other_vocabulary(size, vocabulary, known)
        assert caught.value.reason == "other_vocabulary"


def test_refuses_other_encoders_and_sizes(tmp_path: Path) -> None:
    config = json.loads((PARITY_MODELS / "vit_gpt2" / "config.json").read_text())
    config["encoder"]["model_type"] = "swin"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "generation_config.json").write_text("{}")
    with pytest.raises(InputError, match="swin"):
        load_image_to_text(str(tmp_path))
    directory = Path(write_captioner(tmp_path))
    file = directory / "preprocessor_config.json"
    fields = json.loads(file.read_text()) | {"size": {"height": 32, "width": 32}}
    file.write_text(json.dumps(fields))
    with pytest.raises(InputError, match="64 x 64 pixels"):
        load_image_to_text(str(directory))


def test_old_files_keep_the_settings_of_texts_with_the_decoder() -> None:
    decoder = {"bos_token_id": 50256, "eos_token_id": 50256}
    found = vision_encoder_decoder_generation({"decoder": decoder}, {})
    assert (found.start_id, found.end_ids, found.pad_id) == (50256, (50256,), 50256)
