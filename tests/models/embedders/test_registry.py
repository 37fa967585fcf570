"""Embedders by name, and what unit norm means."""

import subprocess
import sys

import numpy as np
import pytest

from models.embedders import descriptor
from models.embedders.base import PAPER_THRESHOLD, unit_rows
from models.embedders.registry import load_embedder
from models.pretrained.resizing import squeeze
from tests.support.made_media import still


def test_rows_are_scaled_to_unit_norm() -> None:
    rows, good = unit_rows(np.array([[3, 4], [0, -2]], np.float32))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, np.array([[0.6, 0.8], [0, -1]], np.float32))
    assert good.tolist() == [True, True]


def test_rows_without_a_direction_are_left_out_and_told() -> None:
    bad = [[0, 0], [np.nan, 1], [np.inf, 1], [-np.inf, np.inf]]
    given = np.array([bad[0], [1, 0], *bad[1:], [0, 5]], np.float32)
    rows, good = unit_rows(given)
    assert good.tolist() == [False, True, False, False, False, True]
    np.testing.assert_array_equal(rows, [[1, 0], [0, 1]])
    none, good = unit_rows(np.zeros((0, 7), np.float32))
    assert none.shape == (0, 7) and good.shape == (0,)


@pytest.mark.parametrize("size", [1e-10, 1e25])
def test_tiny_and_huge_rows_have_a_direction_too(size: float) -> None:
    """Their squares have none in float32."""
    rows, good = unit_rows(np.array([[3 * size, 4 * size]], np.float32))
    assert good.tolist() == [True]
    np.testing.assert_allclose(rows, [[0.6, 0.8]], rtol=1e-6)


def test_the_descriptor_is_loaded_by_name_and_once() -> None:
    embedder = load_embedder("descriptor")
    assert embedder is load_embedder("descriptor")
    assert embedder.embedder_id == descriptor.EMBEDDER_ID
    assert embedder.dimension == descriptor.DIMENSION
    assert embedder.resizing == squeeze(descriptor.IMAGE_SIZE_PX)
    assert embedder.default_threshold == PAPER_THRESHOLD == 0.6
    images = np.stack([still(scene, 224, 224) for scene in (1, 2)])
    found = embedder.embed(images)
    assert found.shape == (2, embedder.dimension) and found.dtype == np.float32
    np.testing.assert_array_equal(found, descriptor.describe(images))


@pytest.mark.parametrize("name", ["", "resnet", "hub", "hub:", "hf:", "HUB:x"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        load_embedder(name)
    assert str(caught.value) == (
        f"unknown embedder {name!r}: use 'descriptor', 'hub:HANDLE_OR_DIRECTORY', "
        "'onnx:FILE', 'hf:ID[@REVISION]' or the directory of a checkpoint"
    )


def test_the_descriptor_needs_no_heavy_library() -> None:
    code = (
        "import sys; from models.embedders.registry import load_embedder;"
        "load_embedder('descriptor');"
        "heavy = {'tensorflow', 'tensorflow_hub', 'jax', 'flax', 'scann'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
