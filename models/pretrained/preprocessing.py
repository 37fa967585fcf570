"""From a picture to what an image encoder takes, as its checkpoint says.

    preprocessing = read_preprocessing("checkpoints/clip-vit-base-patch32", "clip", 224)
    squares = ...  # uint8 [n, 224, 224, 3], by preprocessing.resizing
    pixels = normalize(squares, preprocessing.scale)

The file is `preprocessor_config.json`, or the part `image_processor` of
`processor_config.json`, with its fields understood as by `transformers` 5.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from clipseed.errors import InputError
from models.pretrained.checkpoint import read_json
from models.pretrained.resizing import Filter, Resizing

if TYPE_CHECKING:
    import jax

PREPROCESSOR_FILE, PROCESSOR_FILE = "preprocessor_config.json", "processor_config.json"


class PixelScale(NamedTuple):
    """What the values of pixels are brought to.

    Attributes:
        mean: of each channel, subtracted after the multiplication by `factor`.
        deviation: of each channel, divided by then.
        factor: that uint8 values are multiplied by.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    factor: float = 1 / 255


# Values in [-1, 1], as ViT and MBT take them.
SYMMETRIC_SCALE = PixelScale((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP_SCALE = PixelScale(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)
IMAGENET_SCALE = PixelScale((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Preprocessing(NamedTuple):
    """Everything between a decoded picture and the model."""

    resizing: Resizing
    scale: PixelScale


def normalize(pictures: Any, scale: PixelScale) -> "jax.Array":
    """Scale uint8 [..., 3] to float32 [..., 3]."""
    import jax.numpy as jnp

    values = jnp.asarray(pictures, jnp.float32) * scale.factor
    return (values - jnp.array(scale.mean)) / jnp.array(scale.deviation)


# --- the published file --------------------------------------------------------------

_BILINEAR, _BICUBIC = 2, 3  # Pillow's numbers, of the field `resample`
_FILTERS: dict[int, Filter] = {_BILINEAR: "bilinear", _BICUBIC: "bicubic"}
_SHORT_SIDE: dict[str, Any] = {
    "size": {"shortest_edge": 224},
    "crop_size": 224,
    "do_center_crop": True,
    "resample": _BICUBIC,
    "image_mean": CLIP_SCALE.mean,
    "image_std": CLIP_SCALE.deviation,
}
_SQUARE: dict[str, Any] = {
    "size": 224,
    "do_center_crop": False,
    "resample": _BILINEAR,
    "image_mean": SYMMETRIC_SCALE.mean,
    "image_std": SYMMETRIC_SCALE.deviation,
}
_ALWAYS: dict[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
}
# Steps that are done, or done always: pictures are decoded to RGB.
_STEPS = (*_ALWAYS, "do_center_crop", "do_convert_rgb")
# What a processor does where its file does not say.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIP": _SHORT_SIDE,
    "Bit": _SHORT_SIDE,
    "ViT": _SQUARE,
    "Siglip": {**_SQUARE, "resample": _BICUBIC},
    "Blip": {
        "size": 384,
        "do_center_crop": False,
        "resample": _BICUBIC,
        "image_mean": CLIP_SCALE.mean,
        "image_std": CLIP_SCALE.deviation,
    },
}
# What each family was published with; where a checkpoint has no file.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "clip": {"image_processor_type": "CLIPImageProcessor"},
    "clip_vision_model": {"image_processor_type": "CLIPImageProcessor"},
    "vit": {"image_processor_type": "ViTImageProcessor"},
    "siglip": {"image_processor_type": "SiglipImageProcessor"},
    "siglip_vision_model": {"image_processor_type": "SiglipImageProcessor"},
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "image_mean": IMAGENET_SCALE.mean,
        "image_std": IMAGENET_SCALE.deviation,
    },
    "blip": {"image_processor_type": "BlipImageProcessor"},
    "git": {"image_processor_type": "CLIPImageProcessor"},
    "vision-encoder-decoder": {"image_processor_type": "ViTImageProcessor"},
}


def read_preprocessing(directory: str, family: str, size_px: int) -> Preprocessing:
    """Read what a checkpoint's pictures go through.

    Args:
        directory: local or `gs://`.
        family: the `model_type` of its `config.json`.
        size_px: that the model takes; for a checkpoint without the file, which then
            gets what its family was published with, and a warning.

    Raises:
        InputError: `unreadable`; `bad_checkpoint` if the file asks for what is not
            supported, or makes no sense.
    """
    published = _read_file(directory)
    if published is None:
        published = _sized(_PUBLISHED[family], size_px)
        logging.warning(
            "%s has no %s: pictures go through the preprocessing that models of type "
            "%s are published with",
            directory,
            PREPROCESSOR_FILE,
            family,
        )
    return preprocessing_of(published, directory, family)


def read_published_preprocessing(directory: str) -> Preprocessing | None:
    """Read the file of a checkpoint of any family; None where there is none.

    Raises:
        InputError: as `read_preprocessing`; also if the file names no processor.
    """
    published = _read_file(directory)
    return None if published is None else preprocessing_of(published, directory, "")


def _read_file(directory: str) -> dict[str, Any] | None:
    for name in (PREPROCESSOR_FILE, PROCESSOR_FILE):
        try:
            found = read_json(directory, name)
        except InputError as error:
            if error.reason == "not_found":
                continue
            raise
        if name == PREPROCESSOR_FILE:
            return found
        part = found.get("image_processor")
        if isinstance(part, dict):
            return part
    return None


def _sized(published: Mapping[str, Any], size_px: int) -> dict[str, Any]:
    """Return a family's preprocessing for models of another size than 224."""
    kind = _kind(published, "", "")
    short_side = kind in ("CLIP", "Bit")
    size = {"shortest_edge": size_px} if short_side else size_px
    return {**published, "size": size, "crop_size": size_px}


def preprocessing_of(
    published: Mapping[str, Any], where: str, family: str
) -> Preprocessing:
    """Return the preprocessing that a published file describes.

    Args:
        published: the file's fields.
        where: the checkpoint, for messages.
        family: the `model_type`, for a file that does not name its processor.

    Raises:
        InputError: `bad_checkpoint`.
    """
    kind = _kind(published, family, where)
    fields = _ALWAYS | _DEFAULTS[kind]
    fields |= {name: value for name, value in published.items() if value is not None}
    for name, value in fields.items():
        if name.startswith("do_") and name not in _STEPS and value:
            raise _bad(where, f"{name} {value!r}", "this step is not supported")
    resizing = _resizing(fields, kind, where)
    return Preprocessing(resizing, _scale(fields, where))


def _kind(published: Mapping[str, Any], family: str, where: str) -> str:
    """Return the processor's name, less what versions have added to it."""
    named = published.get("image_processor_type") or published.get(
        "feature_extractor_type"
    )
    if named is None:
        named = _PUBLISHED.get(family, {}).get("image_processor_type", "")
    kind = str(named)
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    if kind not in _DEFAULTS:
        known = ", ".join(f"{name}ImageProcessor" for name in _DEFAULTS)
        raise _bad(where, f"the processor {named!r}", f"supported are {known}")
    return kind


def _resizing(fields: Mapping[str, Any], kind: str, where: str) -> Resizing:
    if not fields["do_resize"]:
        raise _bad(where, "do_resize false", "pictures have many sizes: set it")
    if fields["resample"] not in _FILTERS:
        raise _bad(
            where, f"resample {fields['resample']!r}", "use 2 (bilinear) or 3 (bicubic)"
        )
    size = fields["size"]
    keep_aspect = kind in ("CLIP", "Bit")  # of a bare number, in older files
    if isinstance(size, dict):
        keep_aspect = set(size) == {"shortest_edge"}
        size = size["shortest_edge"] if keep_aspect else _side(size, where)
    crop = fields["crop_size"] if fields["do_center_crop"] else size
    crop = _side(crop, where) if isinstance(crop, dict) else crop
    for side in (size, crop):
        if type(side) is not int or not 0 < side <= 4096:
            raise _bad(where, f"a size of {side!r}", "a number of pixels belongs there")
    if crop > size or (keep_aspect and not fields["do_center_crop"]):
        raise _bad(where, f"size {fields['size']} and crop_size {crop}",
                   "pictures of any shape must fill a square: set do_center_crop and a "
                   "crop_size of at most the size")  # fmt: skip
    return Resizing(crop, size, keep_aspect, _FILTERS[fields["resample"]])


def _side(size: Mapping[str, Any], where: str) -> Any:
    if set(size) != {"height", "width"} or size["height"] != size["width"]:
        raise _bad(
            where,
            f"size {dict(size)}",
            "give shortest_edge, or a height and width that are equal",
        )
    return size["height"]


def _scale(fields: Mapping[str, Any], where: str) -> PixelScale:
    factor = fields["rescale_factor"] if fields["do_rescale"] else 1.0
    if not isinstance(factor, int | float) or not 0 < factor <= 1:
        raise _bad(where, f"rescale_factor {factor!r}", "give one in (0, 1]")
    if not fields["do_normalize"]:
        return PixelScale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), float(factor))
    mean = _three(fields["image_mean"], where)
    deviation = _three(fields["image_std"], where)
    if min(deviation) <= 0:
        raise _bad(where, f"a deviation of {min(deviation)}", "correct it")
    return PixelScale(mean, deviation, float(factor))


def _three(values: Any, where: str) -> tuple[float, ...]:
    try:
        red, green, blue = map(float, values)
    except (TypeError, ValueError) as error:
        raise _bad(
            where, repr(values), "give a number for each of three channels"
        ) from error
    return red, green, blue


def _bad(where: str, what: str, hint: str) -> InputError:
    return InputError(
        "bad_checkpoint", f"{PREPROCESSOR_FILE} of {where} has {what}: {hint}"
    )
