"""What training changes about pictures, against the same done plainly in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from models.data.augment import AugmentConfig, augment_pictures

SEED = (7, 64)
PLAIN = AugmentConfig(least_side=1.0, flip=False, color=0.0)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)


def augmented(
    images: np.ndarray, px: int, config: AugmentConfig, seed: tuple[int, int] = SEED
) -> np.ndarray:
    changed = augment_pictures(tf.constant(images), px, config, tf.constant(seed))
    assert changed.dtype == tf.uint8 and changed.shape == (3, px, px, 3)
    return changed.numpy()


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    images = noise(20, 20)
    assert np.array_equal(augmented(images, 20, PLAIN), images)


def test_crops_are_squares_of_the_size_asked_for() -> None:
    # Each pixel says where it is, and a crop is not scaled where it has px already.
    rows, columns = np.mgrid[:30, :50].astype(np.uint8)
    images = np.stack([rows, columns, rows], -1)[None].repeat(3, 0)
    config = AugmentConfig(least_side=0.5, flip=False, color=0.0)
    sides, corners = set(), set()
    for number in range(40):
        crop = augmented(images, 60, config, (number, 1)).astype(int)
        (top, left), (bottom, right) = crop[0, 0, 0, :2], crop[0, -1, -1, :2]
        assert bottom - top == right - left
        assert np.array_equal(crop[0], crop[2])  # One for the whole segment.
        sides.add(bottom - top + 1)
        corners.add((top, left))
    assert min(sides) >= 15 and max(sides) <= 30
    assert len(sides) > 10 and len(corners) > 30


@pytest.mark.parametrize("side", [26, 30, 100])
def test_no_pixel_is_passed_over_when_pictures_shrink(side: int) -> None:
    images = np.zeros((3, side, side, 3), np.uint8)
    images[0, side // 2, side // 2] = 255
    crop = augmented(images, 20, PLAIN)
    assert crop[0].any() and not crop[1].any()
    even = np.full((3, side, side, 3), 77, np.uint8)
    assert (augmented(even, 20, PLAIN) == 77).all()


def test_stripes_finer_than_pixels_become_gray() -> None:
    images = np.zeros((3, 100, 100, 3), np.uint8)
    images[:, :, ::2] = 200
    inside = augmented(images, 20, PLAIN)[:, 2:-2, 2:-2].astype(int)
    assert abs(inside - 100).max() < 20


def test_segments_are_mirrored_half_of_the_time() -> None:
    images = noise(20, 20)
    config = AugmentConfig(least_side=1.0, flip=True, color=0.0)
    mirrored = 0
    for number in range(60):
        found = augmented(images, 20, config, (number, 5))
        if not np.array_equal(found, images):
            assert np.array_equal(found, images[:, :, ::-1])
            mirrored += 1
    assert 15 <= mirrored <= 45


def test_colors_are_those_of_one_change_after_the_other() -> None:
    images = noise(20, 20)
    config = AugmentConfig(least_side=1.0, flip=False, color=0.4, color_share=1.0)
    for number in range(5):
        seed = (number, 9)
        low, high = 1 - config.color, 1 + config.color
        factors = tf.random.stateless_uniform((3,), tf.constant(seed) + 1, low, high)
        brightness, saturation, contrast = factors.numpy().astype(float)
        plain = images * brightness
        gray = plain.mean(-1, keepdims=True)
        plain = gray + (plain - gray) * saturation
        plain = plain.mean() + (plain - plain.mean()) * contrast
        found = augmented(images, 20, config, seed).astype(float)
        assert np.abs(found - np.clip(plain, 0, 255)).max() <= 0.51
        assert not np.array_equal(found, images)


def test_some_segments_keep_their_colors() -> None:
    images = noise(20, 20)
    config = AugmentConfig(least_side=1.0, flip=False, color_share=0.5)
    kept = [
        np.array_equal(augmented(images, 20, config, (number, 3)), images)
        for number in range(60)
    ]
    assert 15 <= sum(kept) <= 45
