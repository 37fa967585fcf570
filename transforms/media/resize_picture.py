"""The one resize that seeds and frames share, as the embedder wants it.

    small = resize_picture(rgb, embedder.resizing)               # uint8 [224, 224, 3]
    small = resize_frame(frame, pixel_aspect, embedder.resizing)

It happens where a picture is decoded, so that nothing larger travels. A seed and the
frame it was cut from must not differ by the resampling filter: both go through the same
one.
"""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from clipseed.errors import InputError
from models.pretrained.resizing import Resizing
from transforms.media.antialiased_resize import MAX_SIDE_PX, resize_antialiased
from transforms.media.container import display_size, to_rgb, upright_rgb
from transforms.media.images import ImageLimits, decode_image, resize_for_embedding


def resize_picture(
    rgb: np.ndarray, resizing: Resizing, display: tuple[int, int] | None = None
) -> np.ndarray:
    """Resize and crop a picture.

    Args:
        rgb: uint8 [h, w, 3], upright.
        resizing: what the embedder takes.
        display: `(width_px, height_px)` at which it is watched, where its pixels are
            oblong; None: its own.

    Returns:
        uint8 [size_px, size_px, 3].

    Raises:
        InputError: `extreme_aspect`, for a picture too long and thin.
    """
    if resizing.filter == "swscale":
        return resize_for_embedding(rgb, resizing.size_px)
    height, width = rgb.shape[:2]
    new_width, new_height = resizing.resized_px(*display or (width, height))
    size = resizing.size_px
    if max(new_width, new_height) > MAX_SIDE_PX:
        raise InputError(
            "extreme_aspect",
            f"{width} x {height} pixels become {new_width} x {new_height} when resized "
            f"for the embedder, more than {MAX_SIDE_PX}: crop the image",
        )
    left, top = (new_width - size) // 2, (new_height - size) // 2
    return resize_antialiased(
        rgb, (new_width, new_height), (left, top, size, size), resizing.filter
    )


def load_picture(
    data: bytes, limits: ImageLimits, resizing: Resizing
) -> Iterator[np.ndarray]:
    """Yield a picture, decoded and resized: what the decoder process does with a seed.

    Args:
        data: of the image file.
        limits: what it may cost.
        resizing: what the embedder takes.

    Raises:
        InputError: as `decode_image` and `resize_picture`.
    """
    yield resize_picture(decode_image(data, limits), resizing)


def load_thumbnail(
    data: bytes, limits: ImageLimits, box_px: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Yield a picture to look at: decoded, and made to fit into width and height.

    Raises:
        InputError: as `decode_image`.
    """
    picture = Image.fromarray(decode_image(data, limits))
    picture.thumbnail(box_px)
    yield np.asarray(picture)


def resize_frame(
    frame: av.video.frame.VideoFrame, pixel_aspect: Fraction, resizing: Resizing
) -> np.ndarray:
    """Resize and crop a video frame, as `resize_picture` does with its pixels.

    Args:
        frame: as decoded.
        pixel_aspect: width of a pixel by its height.
        resizing: what the embedder takes.

    Returns:
        uint8 [size_px, size_px, 3], upright.
    """
    if resizing.filter == "swscale":  # one step from YUV: no full-size RGB is made
        return to_rgb(frame, resizing.size_px, resizing.size_px)
    return resize_picture(
        upright_rgb(frame), resizing, display_size(frame, pixel_aspect)
    )
