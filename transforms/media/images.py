"""Image bytes to RGB arrays, and the one resize that seeds and frames share.

    rgb = decode_image(data, ImageLimits())       # uint8 [h, w, 3], upright
    small = resize_for_embedding(rgb, 224)        # uint8 [224, 224, 3]

Bytes come from the internet: whatever Pillow raises on them becomes a `InputError`, and
nothing is decoded before the header's size was judged.
"""

import io
import struct
from dataclasses import dataclass

import av
import numpy as np

# Imported by name so that Pillow need not load all its plugins at the first WebP.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from clipseed.errors import InputError

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
_ORIENTATION = 0x0112  # EXIF 2.32, table 4
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's parsers let through on hostile bytes, besides its own classes.
_PARSER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class ImageLimits:
    """What an image may cost.

    Attributes:
        max_pixels: width x height beyond which it is refused undecoded. Above 179e6,
            Pillow's own limit, it has no effect.
    """

    max_pixels: int = 64_000_000


def decode_image(data: bytes, limits: ImageLimits) -> np.ndarray:
    """Decode a JPEG, PNG, WebP, GIF, BMP or TIFF.

    The EXIF orientation is applied, transparency is laid on white, 16-bit gray is
    scaled to 8 bits, and of several frames or pages the first is taken. ICC profiles
    are not applied.

    Args:
        data: the file's bytes.
        limits: what it may cost.

    Returns:
        uint8 [h, w, 3], RGB, contiguous and writable.

    Raises:
        InputError: `not_an_image`, `corrupt_image`, `too_many_pixels` or
            `unsupported_pixels` (32-bit and floating-point samples).
    """
    image = _open(data, limits)
    try:
        image.load()
        # After load(): Pillow turns a TIFF itself then, and drops the tag.
        rgb = _to_rgb(_turn_upright(image))
    except _BOMBS as error:
        raise InputError("too_many_pixels", f"{error}; give a smaller image") from error
    except _PARSER_ERRORS as error:
        raise _corrupt(error) from error
    return np.array(rgb)


def resize_for_embedding(rgb: np.ndarray, size_px: int) -> np.ndarray:
    """Squeeze an image to a square, by the scaler that video frames go through.

    A seed and the frame it was cut from must not differ by the resampling filter, so
    both use libswscale's BILINEAR (a triangle filter that widens when it shrinks).

    Args:
        rgb: uint8 [h, w, 3], any strides.
        size_px: the side of the square.

    Returns:
        uint8 [size_px, size_px, 3].

    Raises:
        InputError: `extreme_aspect`, for rows or columns beyond the scaler (about 2e6).
    """
    try:
        square = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            width=size_px,
            height=size_px,
            format="rgb24",
            interpolation="BILINEAR",
            threads=1,
        )
    except av.ArgumentError as error:
        height, width = rgb.shape[:2]
        raise InputError(
            "extreme_aspect",
            f"{width} x {height} pixels cannot be scaled to {size_px}; crop the image",
        ) from error
    return square.to_ndarray()


def encode_jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """Encode uint8 [h, w, 3] as a JPEG; same input, same bytes.

    Args:
        rgb: uint8 [h, w, 3].
        quality: 1 to 95, as Pillow and libjpeg count.
    """
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    """Read the header; decode no pixel."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except _BOMBS as error:
        raise InputError("too_many_pixels", f"{error}; give a smaller image") from error
    except UnidentifiedImageError as error:
        if data.startswith(_SIGNATURES):
            raise _corrupt(error) from error
        raise InputError(
            "not_an_image",
            f"the {len(data)} bytes are not an image; give one of {_FORMATS}",
        ) from error
    except _PARSER_ERRORS as error:
        raise _corrupt(error) from error
    if image.width * image.height > limits.max_pixels:
        raise InputError(
            "too_many_pixels",
            f"{image.width} x {image.height} pixels, more than {limits.max_pixels}; "
            "give a smaller image",
        )
    return image


def _corrupt(error: Exception) -> InputError:
    message = str(error).partition(" <_io.BytesIO")[0]  # no memory address: it varies
    return InputError(
        "corrupt_image", f"{message or repr(error)}; fetch the image again"
    )


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; unreadable EXIF costs no good picture."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except _PARSER_ERRORS:
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bits(image)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _to_8_bits(image: Image.Image) -> np.ndarray:
    """Scale gray samples of 0..65535 to uint8 [h, w], rounded to nearest.

    Pillow's own conversion clips them at 255. Wider samples have no agreed white, so
    they are refused, not guessed at.
    """
    gray = np.asarray(image)
    if gray.dtype.kind == "f" or gray.min() < 0 or gray.max() > 65535:
        raise InputError(
            "unsupported_pixels",
            f"samples of type {gray.dtype} beyond 16 bits; convert the image to 8 bits",
        )
    return ((gray.astype(np.uint32) + 128) // 257).astype(np.uint8)
