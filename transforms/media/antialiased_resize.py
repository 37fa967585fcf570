"""Antialiased resizing to the bit as `torchvision` does it with uint8 on a CPU.

Published image processors resize uint8 tensors. Pillow's result differs from theirs by
one level in about a pixel of two hundred, because weights are rounded to 22 bits there
and to 15 here; some models turn that into a visible difference of their embeddings.

A picture is resized along its width, then along its height. Each pixel that comes out
is a weighted sum of pixels under a triangle (bilinear) or Keys' cubic with a = -0.5
(bicubic), stretched by the scale when it shrinks. Bicubic pixels are whole numbers
between the two steps; bilinear ones are not, as `torchvision` computes them in float32
(on GPUs and on CPUs with AVX-512; with AVX2 it rounds them, too). The weights are
integers and float64 holds their sums exactly: a result depends neither on the machine
nor on BLAS.
"""

import functools
from typing import NamedTuple

import numpy as np

# Rows of a resized picture beyond which its weights alone would fill the memory.
MAX_SIDE_PX = 1 << 16

_WEIGHT_BITS, _MOST_PRECISION = 15, 22
# Of bilinear weights, and of bilinear pixels between the steps: with the 8 bits of a
# pixel, 52, which float64 holds.
_BILINEAR_BITS, _BETWEEN_BITS = 26, 18
_BLOCK = 16  # outputs a matrix product: their inputs overlap, and fit a cache


def resize_antialiased(
    rgb: np.ndarray,
    size: tuple[int, int],
    crop: tuple[int, int, int, int],
    filter_name: str,
) -> np.ndarray:
    """Resize a picture, and compute only what a crop keeps.

    Args:
        rgb: uint8 [h, w, 3].
        size: `(width_px, height_px)` after the resize, each at most `MAX_SIDE_PX`.
        crop: `(left, top, width_px, height_px)` of what is kept of it.
        filter_name: `bilinear` or `bicubic`.

    Returns:
        uint8 [height_px, width_px, 3].
    """
    height, width = rgb.shape[:2]
    left, top, new_width, new_height = crop
    across = _weights(width, size[0], filter_name).part(left, new_width)
    down = _weights(height, size[1], filter_name).part(top, new_height)
    first, last = down.inputs()  # No output row looks at the others.
    down = down._replace(firsts=down.firsts - first)
    between = _BETWEEN_BITS if filter_name == "bilinear" else 0
    columns = _apply(across, rgb[first:last].transpose(1, 0, 2), between)
    pixels = _apply(down, columns.transpose(1, 0, 2), between)
    # Of two levels equally near, float32 arithmetic takes the even one.
    return (np.rint(pixels) if between else pixels).astype(np.uint8)


class _Weights(NamedTuple):
    """What output pixels are made of, along one axis.

    Attributes:
        firsts: int64 [outputs], the first input of each.
        weights: float64 [outputs, taps], integers; 0 where an output has fewer inputs.
        precision: bits after their binary point.
    """

    firsts: np.ndarray
    weights: np.ndarray
    precision: int

    def part(self, first: int, count: int) -> "_Weights":
        """Return the weights of some outputs."""
        chosen = slice(first, first + count)
        return self._replace(firsts=self.firsts[chosen], weights=self.weights[chosen])

    def inputs(self) -> tuple[int, int]:
        """Return the first input that any output looks at, and the last one plus 1."""
        used = (self.weights != 0) * np.arange(1, self.weights.shape[1] + 1)
        return int(self.firsts[0]), int((self.firsts + used.max(axis=1)).max())


@functools.lru_cache(maxsize=16)
def _weights(old: int, new: int, filter_name: str) -> _Weights:
    """Return the weights of all outputs of a resize."""
    firsts, weights = _float_weights(old, new, filter_name)
    bicubic = filter_name == "bicubic"
    precision = _precision(weights.max()) if bicubic else _BILINEAR_BITS
    rounded = np.trunc(weights * (1 << precision) + np.copysign(0.5, weights))
    return _Weights(firsts, rounded, precision)


def _apply(weights: _Weights, pixels: np.ndarray, bits: int) -> np.ndarray:
    """Resize [inputs, m, c] along the first axis.

    Returns:
        float64 [outputs, m, c] in [0, 255], with `bits` bits after the binary point.
    """
    outputs, m, c = len(weights.firsts), *pixels.shape[1:]
    found = np.empty((outputs, m * c))
    for start in range(0, outputs, _BLOCK):
        part = weights.part(start, _BLOCK)
        first, last = part.inputs()
        matrix = np.zeros((len(part.firsts), last - first))
        for row, begin, values in zip(
            matrix, part.firsts - first, part.weights, strict=True
        ):
            row[begin : begin + len(values)] = values[: len(row) - begin]
        inputs = pixels[first:last].astype(np.float64).reshape(last - first, m * c)
        sums = matrix @ inputs * 2.0 ** (bits - weights.precision)
        rounded = np.floor(sums + 0.5) * 2.0**-bits
        found[start : start + _BLOCK] = np.clip(rounded, 0, 255)
    return found.reshape(outputs, m, c)


def _float_weights(
    old: int, new: int, filter_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first input of each output, and float64 [new, taps] weights."""
    scale = old / new
    stretch = max(scale, 1.0)
    reach = (1.0 if filter_name == "bilinear" else 2.0) * stretch
    centers = scale * (np.arange(new) + 0.5)
    firsts = np.maximum((centers - reach + 0.5).astype(np.int64), 0)
    lasts = np.minimum((centers + reach + 0.5).astype(np.int64), old)
    taps = np.arange((lasts - firsts).max())
    places = firsts[:, None] + taps
    kernel = _triangle if filter_name == "bilinear" else _cubic
    weights = kernel((places - centers[:, None] + 0.5) / stretch)
    weights[places >= lasts[:, None]] = 0
    return firsts, weights / weights.sum(axis=1, keepdims=True)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray) -> np.ndarray:
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _precision(largest: float) -> int:
    """Return the bits after the binary point with which weights fit 16 signed bits."""
    for bits in range(_MOST_PRECISION):
        if int(0.5 + largest * (1 << (bits + 1))) >= 1 << _WEIGHT_BITS:
            return bits
    return _MOST_PRECISION
