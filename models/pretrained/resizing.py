"""How a picture becomes the square of pixels that a model takes.

    resizing = Resizing(224, 256, keep_aspect=True, filter="bicubic")

Only what is wanted is said here, so that a job's plan can name it without loading a
model; `transforms.media.resize_picture` does it, for seeds and frames alike.
"""

from typing import Literal, NamedTuple

# swscale: libswscale's triangle filter, which widens when it shrinks. The others are
# Pillow's, which are antialiased, as torchvision's are when told to be.
Filter = Literal["swscale", "bilinear", "bicubic"]


class Resizing(NamedTuple):
    """A resize, and a center crop after it.

    Attributes:
        size_px: height and width of the square that comes out.
        resize_px: of both sides before the crop, or of the short side; `size_px` or
            more.
        keep_aspect: resize the short side to `resize_px` and the long one in
            proportion; False: squeeze the picture to a square.
        filter: how pixels are interpolated.
    """

    size_px: int
    resize_px: int
    keep_aspect: bool
    filter: Filter

    def resized_px(self, width_px: int, height_px: int) -> tuple[int, int]:
        """Return `(width_px, height_px)` of a picture after the resize.

        The long side is rounded down, as `transformers` rounds it.
        """
        if not self.keep_aspect:
            return self.resize_px, self.resize_px
        if width_px <= height_px:
            return self.resize_px, int(self.resize_px * height_px / width_px)
        return int(self.resize_px * width_px / height_px), self.resize_px


def squeeze(size_px: int) -> Resizing:
    """Return the resizing of models that publish none: to a square, by libswscale."""
    return Resizing(size_px, size_px, keep_aspect=False, filter="swscale")
