import functools
import json
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from clipseed.errors import InputError
from models.backbones.vit.model import ViT, ViTConfig
from models.backbones.vit.weights import fill_vit, load_vit, vit_config
from models.pretrained.checkpoint import published_value, read_config, read_tensors
from models.pretrained.load_weights import parameters
from tests.support.models.made_checkpoint import LAYER, SIZES, Tensors, write_vit


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Write a checkpoint of random tensors, changed by a function."""
    return functools.partial(write_vit, tmp_path)


def test_every_parameter_holds_its_tensor(checkpoint: Callable[..., str]) -> None:
    directory = checkpoint()
    tensors = load_file(Path(directory) / "model.safetensors")
    vit = load_vit(directory)
    mlp = vit.blocks[0].mlp
    weight = tensors[f"{LAYER}.intermediate.dense.weight"]
    np.testing.assert_array_equal(mlp.expand.kernel[...], weight.T)
    kernel = tensors["embeddings.patch_embeddings.projection.weight"]
    np.testing.assert_array_equal(
        vit.patches.kernel[1, 2, 0], kernel[:, 0, 1, 2]
    )  # [out, in, h, w] -> [h, w, in, out]
    got = sorted(float(np.sum(p[...])) for p in parameters(vit).values())
    wanted = sorted(float(array.sum()) for array in tensors.values())
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_missing_tensors_are_named(checkpoint: Callable[..., str]) -> None:
    directory = checkpoint(lambda t: {k: v for k, v in t.items() if k[:4] != "laye"})
    with pytest.raises(
        InputError, match=r"missing: .*norm.bias \(from layernorm.bias\)"
    ):
        load_vit(directory)
    vit = load_vit(directory, allow=[r"norm\..*"])
    np.testing.assert_array_equal(vit.norm.scale[...], 1)  # its initial value


def test_unused_tensors_are_named(checkpoint: Callable[..., str]) -> None:
    def grow(tensors: Tensors) -> None:
        tensors["encoder.layer.1.output.dense.bias"] = np.zeros(16, np.float32)

    with pytest.raises(
        InputError, match=r"unused: encoder.layer.1.output.dense.bias\."
    ):
        load_vit(checkpoint(grow))
    load_vit(checkpoint(grow), allow=[r"encoder\.layer\.1\..*"])


def test_another_shape_is_named_and_nothing_changed(
    checkpoint: Callable[..., str],
) -> None:
    vit = ViT(vit_config(SIZES), nnx.Rngs(0))
    before = np.asarray(vit.positions[...])

    def grow(tensors: Tensors) -> None:
        tensors["layernorm.bias"] = np.zeros(17, np.float32)

    with pytest.raises(InputError, match=r"norm.bias .*: \(17,\) for \(16,\)"):
        fill_vit(vit, checkpoint(grow))
    np.testing.assert_array_equal(vit.positions[...], before)


def test_a_head_on_top_is_left_aside(checkpoint: Callable[..., str]) -> None:
    def add_head(tensors: Tensors) -> Tensors:
        head = {"classifier.weight": np.zeros((3, 16), np.float32)}
        return {f"vit.{name}": array for name, array in tensors.items()} | head

    plain = load_vit(checkpoint())
    headed = load_vit(checkpoint(add_head))
    np.testing.assert_array_equal(plain.positions[...], headed.positions[...])


def test_half_precision_is_widened(checkpoint: Callable[..., str]) -> None:
    directory = checkpoint(
        lambda t: {name: array.astype(ml_dtypes.bfloat16) for name, array in t.items()}
    )
    tensors = read_tensors(directory)
    assert {array.dtype for array in tensors.values()} == {np.dtype("float32")}
    assert np.abs(tensors["layernorm.weight"]).max() > 0.1


def test_one_extra_token_does_not_make_two(checkpoint: Callable[..., str]) -> None:
    config = ViTConfig(**{**vars(vit_config(SIZES)), "extra_tokens": 2})
    with pytest.raises(InputError, match=r"extra_tokens .*: \(1, 16\) for \(2, 16\)"):
        load_vit(checkpoint(), config)


def test_refuses_nan(checkpoint: Callable[..., str]) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors["layernorm.bias"][3] = np.nan

    with pytest.raises(InputError, match=r"NaN or infinity in layernorm\.bias"):
        load_vit(checkpoint(spoil))


def test_refuses_what_is_no_checkpoint(tmp_path: Path) -> None:
    def reason() -> str:
        with pytest.raises(InputError) as caught:
            load_vit(str(tmp_path))
        return caught.value.reason

    assert reason() == "not_found"
    (tmp_path / "config.json").write_text("{")
    assert reason() == "bad_checkpoint"
    (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
    assert reason() == "bad_checkpoint"
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    assert reason() == "not_found"
    (tmp_path / "model.safetensors").write_bytes(b"no tensors here, only some text")
    assert reason() == "bad_checkpoint"


def test_reads_from_the_bucket(checkpoint: Callable[..., str], bucket: str) -> None:
    from clipseed.io import storage

    directory = Path(checkpoint())
    for name in ("config.json", "model.safetensors"):
        storage.write_bytes(f"{bucket}/vit/{name}", (directory / name).read_bytes())
    assert read_config(f"{bucket}/vit", ["vit"]) == SIZES
    remote, local = read_tensors(f"{bucket}/vit"), read_tensors(str(directory))
    assert remote.keys() == local.keys()
    np.testing.assert_array_equal(remote["layernorm.bias"], local["layernorm.bias"])


@pytest.mark.parametrize("value", ["16", 16.0, None, True, [16]])
def test_a_configured_size_must_be_a_number(value: object) -> None:
    with pytest.raises(InputError, match="hidden_size"):
        published_value({"hidden_size": value}, "hidden_size", 768)


def split(directory: str) -> tuple[Path, dict[str, str]]:
    """Spread the tensors of a checkpoint over two files; return what is where."""
    place = Path(directory)
    tensors = load_file(place / "model.safetensors")
    (place / "model.safetensors").unlink()
    weight_map = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names}, place / file)
        weight_map |= dict.fromkeys(names, file)
    listed = {"metadata": {}, "weight_map": weight_map}
    (place / "model.safetensors.index.json").write_text(json.dumps(listed))
    return place, weight_map


def test_weights_in_several_files_are_one_model(
    checkpoint: Callable[..., str], tmp_path: Path
) -> None:
    whole = read_tensors(checkpoint())
    place, _ = split(str(tmp_path))
    found = read_tensors(str(place))
    assert set(found) == set(whole)
    for name, array in whole.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_listed_tensor_that_is_not_there_is_named(
    checkpoint: Callable[..., str],
) -> None:
    place, weight_map = split(checkpoint())
    weight_map["layernorm.gone"] = "model-00001-of-00002.safetensors"
    listed = json.dumps({"weight_map": weight_map})
    (place / "model.safetensors.index.json").write_text(listed)
    with pytest.raises(InputError, match=r"lacks layernorm\.gone"):
        read_tensors(str(place))
    outside = json.dumps({"weight_map": {"a": "../b.safetensors"}})
    (place / "model.safetensors.index.json").write_text(outside)
    with pytest.raises(InputError) as caught:
        read_tensors(str(place))
    assert caught.value.reason == "bad_checkpoint"


def test_pickled_weights_are_refused_with_the_conversion(
    checkpoint: Callable[..., str],
) -> None:
    place = Path(checkpoint())
    (place / "model.safetensors").rename(place / "pytorch_model.bin")
    with pytest.raises(InputError, match="save_pretrained") as caught:
        read_tensors(str(place))
    assert caught.value.reason == "pickled_checkpoint"


def test_what_a_family_is_published_with_is_dropped(
    checkpoint: Callable[..., str],
) -> None:
    """The pooler and heads of ViTs, and nothing that is not known."""

    def add(tensors: Tensors) -> None:
        for name in ("pooler.dense.bias", "classifier.bias", "embeddings.mask_token"):
            tensors[name] = np.zeros(2, np.float32)

    load_vit(checkpoint(add))
