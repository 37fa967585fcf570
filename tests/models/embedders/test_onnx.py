"""ONNX models as embedders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipseed.io import storage
from models.embedders.base import unit_rows
from models.embedders.registry import load_embedder
from models.pretrained.preprocessing import CLIP_SCALE
from models.pretrained.resizing import Resizing, squeeze
from tests.support.made_media import still
from tests.support.paths import DATA

onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
MOBILENET = DATA / "models" / "mobilenet_v2_1.0_224_features"

NCHW, NHWC = ["n", 3, 8, 8], ["n", 8, 8, 3]


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., str]:
    """Write a model of the means over height and width, times a matrix."""

    def write(
        shape: list[Any] = NCHW,
        axes: tuple[int, int] = (2, 3),
        kind: str = "FLOAT",
        outputs: int = 1,
    ) -> str:
        helper, types = onnx.helper, onnx.TensorProto
        mixed = np.arange(12, dtype=np.float32).reshape(3, 4) % 5
        nodes = [
            helper.make_node("Cast", ["images"], ["values"], to=types.FLOAT),
            helper.make_node("ReduceMean", ["values", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "mixed"], ["features"]),
        ]
        constants = [
            onnx.numpy_helper.from_array(np.array(axes, np.int64), "axes"),
            onnx.numpy_helper.from_array(mixed, "mixed"),
        ]
        image = helper.make_tensor_value_info("images", getattr(types, kind), shape)
        found = [
            helper.make_tensor_value_info(name, types.FLOAT, ["n", size])
            for name, size in (("features", 4), ("means", 3))[:outputs]
        ]
        graph = helper.make_graph(nodes, "means", [image], found, constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        made.ir_version = 9
        onnx.save(made, tmp_path / "model.onnx")
        return str(tmp_path / "model.onnx")

    return write


def pictures(n: int, side: int = 8) -> np.ndarray:
    shape = (n, side, side, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def wanted(images: np.ndarray) -> np.ndarray:
    """Return the features of pictures in [0, 1], by hand."""
    mixed = np.arange(12).reshape(3, 4) % 5
    return (images / 255).mean(axis=(1, 2)) @ mixed


@pytest.mark.parametrize(
    ("shape", "axes", "options"),
    [
        (NCHW, (2, 3), ""),
        (NHWC, (1, 2), ""),
        (["n", "c", "h", "w"], (2, 3), "?layout=nchw&size_px=8"),
        (["n", "h", "w", 3], (1, 2), "?size_px=8"),
        ([4, 3, 8, 8], (2, 3), ""),
    ],
)
def test_the_layout_is_the_models_or_given(
    shape: list[Any], axes: tuple[int, int], options: str, model: Callable[..., str]
) -> None:
    embedder = load_embedder(f"onnx:{model(shape, axes)}{options}")
    assert embedder.resizing == squeeze(8) and embedder.dimension == 4
    assert embedder.default_threshold is None
    images = pictures(70)
    np.testing.assert_allclose(embedder.embed(images), wanted(images), rtol=1e-4)
    np.testing.assert_array_equal(
        embedder.embed(images[:3]), embedder.embed(images)[:3]
    )
    assert embedder.embed(images[:0]).shape == (0, 4)


def test_bytes_go_to_a_model_of_bytes(model: Callable[..., str]) -> None:
    embedder = load_embedder(f"onnx:{model(kind='UINT8')}")
    images = pictures(2)
    np.testing.assert_allclose(embedder.embed(images), wanted(images) * 255, rtol=1e-4)


def test_the_file_beside_it_says_how_pictures_are_prepared(
    model: Callable[..., str],
) -> None:
    place = model()
    plain = load_embedder(f"onnx:{place}").embedder_id
    fields = {"image_processor_type": "CLIPImageProcessor", "crop_size": 8}
    fields["size"] = {"shortest_edge": 10}
    Path(place).with_name("preprocessor_config.json").write_text(json.dumps(fields))
    load_embedder.cache_clear()
    embedder = load_embedder(f"onnx:{place}")
    assert embedder.resizing == Resizing(8, 10, True, "bicubic")
    assert embedder.embedder_id != plain
    images = pictures(2)
    scaled = (images / 255 - CLIP_SCALE.mean) / CLIP_SCALE.deviation * 255
    np.testing.assert_allclose(
        embedder.embed(images), wanted(scaled), rtol=1e-3, atol=1e-5
    )


def test_one_of_several_outputs_is_named(
    model: Callable[..., str], bucket: str
) -> None:
    data = Path(model(outputs=2)).read_bytes()
    place = f"{bucket}/model.onnx"
    storage.write_bytes(place, data)
    with pytest.raises(ValueError, match=r"the outputs features, means: name one"):
        load_embedder(f"onnx:{place}")
    embedder = load_embedder(f"onnx:{place}?output=means")
    assert embedder.dimension == 3
    other = load_embedder(f"onnx:{place}?output=features").embedder_id
    assert embedder.embedder_id != other and other.startswith("onnx:model.onnx@")


@pytest.mark.parametrize(
    ("shape", "options", "told"),
    [
        (["n", "c", "h", "w"], "", "where the channels are"),
        (["n", 3, "h", "w"], "", "add ?size_px"),
        (["n", 3, 8, 6], "", "must be square"),
        (NCHW, "?layout=nhwc", "where the channels are"),
        (NCHW, "?size=8", "write onnx:FILE"),
        (NCHW, "?size_px=9", "must be square"),
    ],
)
def test_what_stays_open_is_asked_for(
    shape: list[Any], options: str, told: str, model: Callable[..., str]
) -> None:
    with pytest.raises(ValueError) as caught:
        load_embedder(f"onnx:{model(shape)}{options}")
    assert told in str(caught.value)


@pytest.mark.skipif(not MOBILENET.is_dir(), reason="needs shared/data/models")
def test_an_exported_model_embeds_as_the_original(tmp_path: Path) -> None:
    from benchmarks.mining.tf_to_onnx import export

    export(MOBILENET, tmp_path / "mobilenet.onnx")
    exported = load_embedder(f"onnx:{tmp_path / 'mobilenet.onnx'}")
    original = load_embedder(f"hub:{MOBILENET}")
    assert exported.resizing == original.resizing
    images = np.stack([still(scene, 224, 224) for scene in range(1, 7)])
    pairs = (unit_rows(each.embed(images))[0] for each in (exported, original))
    assert np.multiply(*pairs).sum(axis=1).min() >= 0.9999


def test_what_is_not_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"not a model")
    for name in ("no.onnx", "absent.onnx"):
        with pytest.raises(ValueError, match=name):
            load_embedder(f"onnx:{tmp_path / name}")
