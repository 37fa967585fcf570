"""From the bytes of a picture to what an image encoder takes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from clipseed.errors import InputError
from models.pretrained.checkpoint import read_json

PREPROCESSOR_FILE = "preprocessor_config.json"


class PixelScale(NamedTuple):
    """Mean and deviation of each channel, of values in [0, 1]."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


# Values in [-1, 1], as ViT and MBT take them.
SYMMETRIC_SCALE = PixelScale((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP_SCALE = PixelScale(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)


def normalize(pictures: jax.Array, scale: PixelScale) -> jax.Array:
    """Scales uint8 [..., 3] to float32 [..., 3]."""
    values = jnp.asarray(pictures, jnp.float32) / 255
    return (values - jnp.array(scale.mean)) / jnp.array(scale.deviation)


def read_scale(directory: str, default: PixelScale) -> PixelScale:
    """Reads the scale that a checkpoint was made with.

    Args:
        directory: local or `gs://`; without a `preprocessor_config.json`: `default`.
        default: of the kind of model.

    Raises:
        InputError: `unreadable`; `bad_checkpoint` if the file holds no such scale.
    """
    try:
        found = read_json(directory, PREPROCESSOR_FILE)
    except InputError as reject:
        if reject.reason == "not_found":
            return default
        raise
    if not found.get("do_normalize", True):
        return PixelScale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    mean = _three(found.get("image_mean", default.mean), directory)
    deviation = _three(found.get("image_std", default.deviation), directory)
    if min(deviation) <= 0:
        raise InputError(
            "bad_checkpoint",
            f"{PREPROCESSOR_FILE} of {directory} has a deviation of {min(deviation)}: "
            "correct it",
        )
    return PixelScale(mean, deviation)


def _three(values: Any, directory: str) -> tuple[float, ...]:
    try:
        red, green, blue = map(float, values)
    except (TypeError, ValueError) as error:
        raise InputError(
            "bad_checkpoint",
            f"{PREPROCESSOR_FILE} of {directory} has {values!r} where a number for "
            "each of three channels belongs: correct it",
        ) from error
    return red, green, blue
