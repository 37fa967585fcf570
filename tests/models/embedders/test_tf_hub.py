"""SavedModels as embedders: signatures, sizes, names, and what is refused.

The models made here give the mean and the extremes of an image, in [0, 1]: an
embedding that can be told by hand.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipseed.io import storage
from models.embedders.base import PAPER_THRESHOLD, EmbeddingError
from models.embedders.registry import load_embedder
from models.embedders.tf_hub import HubEmbedder

SIDE = 8
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def tf() -> Any:
    import tensorflow

    return tensorflow


def features(tf: Any, images: Any) -> Any:
    axes = (1, 2, 3)
    reduced = (tf.reduce_mean, tf.reduce_max, tf.reduce_min)
    return tf.stack([reduce(images, axes) for reduce in reduced], axis=1)


def save(
    tf: Any,
    directory: Path,
    compute: Make,
    shape: tuple[int | None, ...] = (None, SIDE, SIDE, 3),
    signature: str = "serving_default",
) -> str:
    """Save a model of one signature."""
    module = tf.Module()
    module.run = tf.function(compute, input_signature=[tf.TensorSpec(shape)])
    tf.saved_model.save(module, str(directory), signatures={signature: module.run})
    return str(directory)


@pytest.fixture(scope="module")
def plain(tf: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("models") / "plain"
    return save(tf, directory, lambda images: {"out": features(tf, images)})


def images(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def by_hand(batch: np.ndarray) -> np.ndarray:
    flat = batch.reshape(-1, SIDE * SIDE * 3) / 255
    return np.stack([flat.mean(1), flat.max(1), flat.min(1)], axis=1)


def test_a_signature_gives_its_features(plain: str) -> None:
    embedder = HubEmbedder(plain)
    assert (embedder.dimension, embedder.resizing.size_px) == (3, SIDE)
    assert embedder.default_threshold == PAPER_THRESHOLD
    found = embedder.embed(images(5))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(images(5)), atol=1e-6)
    assert isinstance(load_embedder(f"hub:{plain}"), HubEmbedder)


def test_a_model_of_a_bucket_is_the_same_model(plain: str, bucket: str) -> None:
    uri = f"{bucket}/models/plain"
    for path in Path(plain).rglob("*"):
        if path.is_file():
            name = path.relative_to(plain).as_posix()
            storage.write_bytes(f"{uri}/{name}", path.read_bytes())
    here, there = HubEmbedder(plain), HubEmbedder(uri)
    assert there.embedder_id == here.embedder_id
    np.testing.assert_array_equal(there.embed(images(9)), here.embed(images(9)))
    with pytest.raises(ValueError, match=r"gs://.*no file"):
        HubEmbedder(f"{bucket}/models/absent")


@pytest.mark.parametrize("count", [0, 1, 8, 9, 64, 65, 150])
def test_batches_of_any_size_are_padded_and_cut(plain: str, count: int) -> None:
    found = HubEmbedder(plain).embed(images(count))
    assert found.shape == (count, 3)
    for row, image in zip(found, images(count), strict=True):
        np.testing.assert_allclose(row, by_hand(image[None])[0], atol=1e-6)


def test_few_shapes_reach_the_model(tf: Any, tmp_path: Path) -> None:
    """The batch's size, as an embedding."""

    def compute(batch: Any) -> Any:
        size = tf.cast(tf.shape(batch)[0], tf.float32)
        return {"out": tf.fill([tf.shape(batch)[0], 1], size)}

    embedder = HubEmbedder(save(tf, tmp_path / "m", compute))
    sizes = [embedder.embed(images(n))[:, 0].tolist() for n in (1, 9, 40, 65)]
    assert sizes == [[8.0], [16.0] * 9, [64.0] * 40, [64.0] * 64 + [8.0]]


def test_a_model_may_be_callable_without_a_signature(tf: Any, tmp_path: Path) -> None:
    module = tf.Module()
    module.__call__ = tf.function(
        lambda batch: features(tf, batch),
        input_signature=[tf.TensorSpec((None, None, None, 3))],
    )
    tf.saved_model.save(module, str(tmp_path / "m"))
    embedder = HubEmbedder(str(tmp_path / "m"))
    assert (embedder.dimension, embedder.resizing.size_px) == (3, 224)


def test_maps_of_features_are_flattened_and_the_default_output_is_taken(
    tf: Any, tmp_path: Path
) -> None:
    def compute(batch: Any) -> Any:
        maps = tf.reshape(features(tf, batch), (-1, 1, 1, 3))
        return {"another": maps[..., :1], "default": maps}

    embedder = HubEmbedder(save(tf, tmp_path / "m", compute, signature="default"))
    assert embedder.dimension == 3
    np.testing.assert_allclose(embedder.embed(images(2)), by_hand(images(2)), atol=1e-6)


def test_the_id_is_of_the_content_and_not_of_the_place(
    plain: str, tf: Any, tmp_path: Path
) -> None:
    first = HubEmbedder(plain).embedder_id
    name, _, digest = first.partition("@")
    assert name == "hub:plain" and len(digest) == 12
    moved = shutil.copytree(plain, tmp_path / "elsewhere" / "plain")
    assert HubEmbedder(f"{moved}/").embedder_id == first
    (moved / "assets" / "labels.txt").write_text("cat")
    assert HubEmbedder(str(moved)).embedder_id not in (first, "hub:plain@")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        handle = str(tmp_path / name)
        with pytest.raises(ValueError) as caught:
            HubEmbedder(handle)
        assert str(caught.value).startswith(f"cannot load the embedder {handle!r}: ")
        assert "must be a TF-Hub handle or a SavedModel directory" in str(caught.value)


def test_models_of_other_inputs_are_refused(tf: Any, tmp_path: Path) -> None:
    wide = save(
        tf, tmp_path / "wide", lambda x: {"o": features(tf, x)}, (None, 8, 9, 3)
    )
    vector = save(tf, tmp_path / "vector", lambda x: {"o": x}, (None,))
    for handle, shape in ((wide, "(None, 8, 9, 3)"), (vector, "(None,)")):
        with pytest.raises(ValueError) as caught:
            HubEmbedder(handle)
        assert str(caught.value) == (
            f"the embedder {handle!r} takes {shape}, not batches of square RGB images"
        )


def test_a_model_that_fails_on_any_image_is_refused(tf: Any, tmp_path: Path) -> None:
    def compute(batch: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_positive(batch)]):
            return {"out": features(tf, batch)}

    with pytest.raises(ValueError, match="does not map images to vectors"):
        HubEmbedder(save(tf, tmp_path / "m", compute))


def test_a_model_of_two_inputs_is_refused_by_its_signatures(
    tf: Any, tmp_path: Path
) -> None:
    module = tf.Module()
    spec = tf.TensorSpec((None, SIDE, SIDE, 3))
    module.run = tf.function(lambda a, b: {"o": a + b}, input_signature=[spec, spec])
    signatures = {"serving_default": module.run}
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=signatures)
    with pytest.raises(ValueError, match="signatures: serving_default"):
        HubEmbedder(str(tmp_path / "m"))


def test_a_batch_that_the_model_fails_on_is_an_embedding_error(
    tf: Any, tmp_path: Path
) -> None:
    def compute(batch: Any) -> Any:
        white = tf.debugging.assert_less(tf.reduce_max(batch), 1.0, "too bright")
        with tf.control_dependencies([white]):
            return {"out": features(tf, batch)}

    embedder = HubEmbedder(save(tf, tmp_path / "m", compute))
    batch = np.zeros((3, SIDE, SIDE, 3), np.uint8)
    assert embedder.embed(batch).tolist() == [[0, 0, 0]] * 3
    batch[1] = 255
    with pytest.raises(EmbeddingError, match="too bright"):
        embedder.embed(batch)
