"""Resizing and cropping by what an embedder asks for."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from clipseed.errors import InputError
from models.pretrained.resizing import Filter, Resizing, squeeze
from tests.support.made_media import still
from transforms.media.container import to_rgb
from transforms.media.images import resize_for_embedding
from transforms.media.resize_picture import resize_frame, resize_picture

PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def by_pillow(rgb: np.ndarray, resizing: Resizing) -> np.ndarray:
    """Do the same in two steps; Pillow rounds its weights a little differently.

    Bilinear pixels are rounded at the end alone, as Pillow does with float pictures.
    """
    height, width = rgb.shape[:2]
    size, method = resizing.resized_px(width, height), PILLOW[resizing.filter]
    if resizing.filter == "bilinear":
        channels = [Image.fromarray(rgb[..., c].astype("f4")) for c in range(3)]
        resized = [np.asarray(each.resize(size, method)) for each in channels]
        whole = np.rint(np.stack(resized, axis=-1)).astype(np.uint8)
    else:
        whole = np.asarray(Image.fromarray(rgb).resize(size, method))
    left, top = ((side - resizing.size_px) // 2 for side in size)
    return whole[top : top + resizing.size_px, left : left + resizing.size_px]


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(97, 181), (181, 97), (20, 31), (64, 64), (5, 900)])
@pytest.mark.parametrize("keep_aspect", [True, False])
def test_resizes_then_crops(
    kind: Filter, shape: tuple[int, int], keep_aspect: bool
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    resizing = Resizing(48, 64, keep_aspect, kind)
    found = resize_picture(noise, resizing)
    assert found.shape == (48, 48, 3) and found.dtype == np.uint8
    wanted = by_pillow(noise, resizing)
    assert np.abs(found.astype(int) - wanted).max() <= 2
    assert (found != wanted).mean() < (0.001 if kind == "bilinear" else 0.02)


def test_weights_are_rounded_as_torchvision_rounds_them() -> None:
    """A step edge over two thirds, by hand: cubic weights of 15 bits and 1."""
    row = np.zeros((1, 3, 3), np.uint8)
    row[:, 2] = 200
    found = resize_picture(np.repeat(row, 3, axis=0), Resizing(2, 2, False, "bicubic"))
    # Scale 1.5: the second output is at 2.25, its inputs at distances 7/6, 1/2, 1/6.
    x = np.array([7 / 6, 1 / 2, 1 / 6])
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    weights = np.where(x < 1, near, -0.5 * (x**3 - 5 * x**2 + 8 * x - 4))
    weights /= weights.sum()
    assert found[0, 1, 0] == round(200 * weights[2])


def test_flat_stays_flat_and_the_same_size_the_same() -> None:
    flat = np.full((37, 53, 3), 201, np.uint8)
    assert (resize_picture(flat, Resizing(16, 20, True, "bicubic")) == 201).all()
    same = still(1, 32, 32)
    for kind in ("bilinear", "bicubic"):
        np.testing.assert_array_equal(
            resize_picture(same, Resizing(32, 32, True, kind)), same
        )


def test_without_a_published_way_it_is_the_squeeze_of_before() -> None:
    rgb = still(2, 90, 160)
    np.testing.assert_array_equal(
        resize_picture(rgb, squeeze(32)), resize_for_embedding(rgb, 32)
    )
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    np.testing.assert_array_equal(
        resize_frame(frame, Fraction(1), squeeze(32)), to_rgb(frame, 32, 32)
    )


def test_a_frame_of_oblong_pixels_keeps_the_aspect_it_is_watched_at() -> None:
    """Stored 60 x 60, watched 120 x 60: the crop is the middle half of its columns."""
    rgb = np.zeros((60, 60, 3), np.uint8)
    rgb[:, 15:45] = 255
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    resizing = Resizing(60, 60, True, "bilinear")
    seen = resize_frame(frame, Fraction(2), resizing)
    assert (seen[:, 1:-1] == 255).all()
    np.testing.assert_array_equal(resize_frame(frame, Fraction(1), resizing), rgb)


def test_a_thread_of_pixels_is_refused() -> None:
    thread = np.zeros((2, 40_000, 3), np.uint8)
    with pytest.raises(InputError) as caught:
        resize_picture(thread, Resizing(224, 224, True, "bicubic"))
    assert caught.value.reason == "extreme_aspect"
