"""The built-in `descriptor` embedder: near-duplicates without a model or a download.

It finds a seed again after a crop, a mirror flip, recoloring, graying or JPEG
compression. It knows nothing of meaning: another photo of the same thing is not a
match.

An image becomes four blocks of numbers, weighted and joined to one unit vector:

- texture, on a fine and on a coarse grid of soft cells: how strong the luma edges are
  and which way they run, as harmonics cos 2kt and sin 2kt of the edge normal t (an edge
  and its negative count the same, so that recoloring and inversion change little);
- luma layout: where the image is bright and where dark;
- color layout: two opponent colors, of small weight because recoloring moves them.

What all images share is taken out of every block (means over the grid), so that
unrelated images have a cosine near 0. Flips cancel: a grid F becomes its even part
(F + mirror F) / 2 and the absolute value of its odd part (F - mirror F) / 2.

Each image is computed alone, by the same operations on the same shapes (and no BLAS),
so that the bytes of a row never depend on its batch.
"""

import numpy as np

from models.pretrained.resizing import squeeze

EMBEDDER_ID = "descriptor-v1"
IMAGE_SIZE_PX = 224

_HARMONICS = 4
_CHANNELS = 1 + 2 * _HARMONICS
# +1: unchanged by a mirror (edge strength, cosines); -1: negated (sines).
_PARITY = np.array([1] + [1, -1] * _HARMONICS, np.float32).reshape(-1, 1, 1)

_CELLS = 16  # cells a side that pixels are averaged into before the soft grids
_FINE, _COARSE, _LUMA, _COLOR = 8, 4, 8, 4  # grid points a side, block by block
_SHARES = np.array(
    [1.0, 0.5, 0.2, 0.1], np.float32
)  # of the squared norm, block by block
DIMENSION = _CHANNELS * (_FINE**2 + _COARSE**2) + _LUMA**2 + 2 * _COLOR**2

# Measured on the frames at 1 fps of 38 real videos
# (tests/models/embedders/test_descriptor.py): a seed's best right frame scores at least
# 0.81, the best frame for a seed without a match 0.45.
# Other frames, edited (crops of 80 to 90 %, flips, hues, gray, JPEG): 95 % score above
# 0.6, while 8 in 100,000 pairs of frames of different videos do.
DEFAULT_THRESHOLD = 0.6

# The mean over the grid shows what kind of picture it is, not which: half its weight.
_MEAN_WEIGHT = np.float32(0.5)
# Layouts of about this root mean square (gray levels of 255) or less fade out: what a
# gray image has of color is compression noise, and must not be blown up to unit norm.
_LAYOUT_NOISE = np.float32(2.5)


class DescriptorEmbedder:
    """The descriptor as an `Embedder`."""

    embedder_id = EMBEDDER_ID
    dimension = DIMENSION
    resizing = squeeze(IMAGE_SIZE_PX)
    default_threshold: float | None = DEFAULT_THRESHOLD

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Describe uint8 [n, 224, 224, 3] as float32 [n, d]."""
        return describe(images)


def describe(images: np.ndarray) -> np.ndarray:
    """Describe images.

    Args:
        images: uint8 [n, 224, 224, 3], RGB.

    Returns:
        float32 [n, DIMENSION], unit norm. An image of one flat color, whichever it is,
        is the first axis: it matches flat images (black frames) and nothing else.

    Raises:
        ValueError: another shape or dtype (a bug of the caller, not a bad input).

    Example:
        >>> describe(np.zeros((2, 224, 224, 3), np.uint8)).shape == (2, DIMENSION)
        True
    """
    if images.dtype != np.uint8 or images.shape[1:] != (IMAGE_SIZE_PX,) * 2 + (3,):
        raise ValueError(
            f"got {images.dtype} {list(images.shape)} where the descriptor takes uint8 "
            f"[n, {IMAGE_SIZE_PX}, {IMAGE_SIZE_PX}, 3]: resize the images first"
        )
    rows = np.empty((len(images), DIMENSION), np.float32)
    for row, image in zip(rows, images, strict=True):
        row[:] = _describe_one(image)
    return rows


def _describe_one(image: np.ndarray) -> np.ndarray:
    """Describe one image: uint8 [224, 224, 3] -> float32 [DIMENSION]."""
    rows = image[0::2].astype(np.float32) + image[1::2]
    red, green, blue = np.moveaxis(rows[:, 0::2] + rows[:, 1::2], -1, 0)
    luma = (299 * red + 587 * green + 114 * blue) / 4000  # ITU-R BT.601
    opponents = np.stack([red - green, (red + green) / 2 - blue]) / 4

    texture = _cell_means(_edge_harmonics(_blur(luma)))
    if not texture.any():  # flat: the rest would be rounding errors, scaled up
        return np.eye(1, DIMENSION, dtype=np.float32)[0]
    blocks = (
        _texture_block(_soft_grid(texture, _FINE)),
        _texture_block(_soft_grid(texture, _COARSE)),
        _layout_block(_soft_grid(_cell_means(luma[np.newaxis]), _LUMA)),
        _layout_block(_soft_grid(_cell_means(opponents), _COLOR)),
    )
    weighted = [w * b for w, b in zip(np.sqrt(_SHARES), blocks, strict=True)]
    return _unit(np.concatenate(weighted))


def _blur(plane: np.ndarray) -> np.ndarray:
    """Smooth noise and block edges by the binomial 1-2-1: [h, w] -> [h, w]."""
    padded = np.pad(plane, 1, "edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16


def _edge_harmonics(luma: np.ndarray) -> np.ndarray:
    """Return edge strength s, then s cos 2kt and s sin 2kt for k = 1.._HARMONICS.

    Powers of the squared gradient (x + iy)^2 give the multiples of the angle without
    any trigonometry, whose last bits differ between machines.

    Args:
        luma: float32 [h, w].

    Returns:
        float32 [_CHANNELS, h, w].
    """
    padded = np.pad(luma, 1, "edge")
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    squared = across * across + down * down
    noise = np.float32(1)  # gradients below one gray level have no direction
    cosine = (across * across - down * down) / (squared + noise)
    sine = 2 * across * down / (squared + noise)

    out = np.empty((_CHANNELS, *luma.shape), np.float32)
    out[0] = np.sqrt(squared)
    previous_cosine, previous_sine = out[0], np.zeros_like(luma)
    for k in range(1, _CHANNELS, 2):
        out[k] = previous_cosine * cosine - previous_sine * sine
        out[k + 1] = previous_cosine * sine + previous_sine * cosine
        previous_cosine, previous_sine = out[k], out[k + 1]
    return out


def _cell_means(planes: np.ndarray) -> np.ndarray:
    """Average square cells: [c, h, w] -> [c, _CELLS, _CELLS]."""
    channels, height, width = planes.shape
    size = (height // _CELLS, width // _CELLS)
    rows = planes.reshape(channels, _CELLS, size[0], width).sum(2)
    return rows.reshape(channels, _CELLS, _CELLS, size[1]).sum(3) / (size[0] * size[1])


def _soft_grid(cells: np.ndarray, points: int) -> np.ndarray:
    """Pool cells under overlapping tents, so that a small shift changes little.

    Args:
        cells: float32 [c, _CELLS, _CELLS].
        points: grid points a side.

    Returns:
        float32 [c, points, points].
    """
    step = _CELLS / points
    peaks = (np.arange(points) + 0.5) * step
    distance = np.abs(np.arange(_CELLS) + 0.5 - peaks[:, np.newaxis])
    tents = np.maximum(0, 1 - distance / step)
    tents = (tents / tents.sum(1, keepdims=True)).astype(np.float32)
    rows = (cells[:, np.newaxis] * tents[:, :, np.newaxis]).sum(2)
    return (rows[:, :, np.newaxis] * tents).sum(3)


def _texture_block(grid: np.ndarray) -> np.ndarray:
    """Center, compress and flip-fold edge harmonics, to unit norm.

    The signed square root keeps one strong edge from deciding alone (the Hellinger
    kernel, as in Arandjelovic and Zisserman, "Three things everyone should know to
    improve object retrieval", 2012).

    Args:
        grid: float32 [_CHANNELS, g, g].

    Returns:
        float32 [_CHANNELS * g * g].
    """
    grid = grid.copy()
    grid[0] -= grid[0].mean()
    grid = np.sign(grid) * np.sqrt(np.abs(grid))
    grid -= (1 - _MEAN_WEIGHT) * grid.mean((1, 2), keepdims=True)
    return _unit(_fold_flip(grid, _PARITY))


def _layout_block(grid: np.ndarray) -> np.ndarray:
    """Center and flip-fold gray or color levels, to a norm of at most 1.

    Args:
        grid: float32 [c, g, g].

    Returns:
        float32 [c * g * g].
    """
    folded = _fold_flip(grid - grid.mean((1, 2), keepdims=True), np.float32(1))
    return folded / np.sqrt((folded**2).sum() + folded.size * _LAYOUT_NOISE**2)


def _fold_flip(grid: np.ndarray, parity: np.ndarray | np.float32) -> np.ndarray:
    """Make an image and its mirror image the same: [c, g, g] -> [c * g * g].

    Args:
        grid: float32 [c, g, g], g even.
        parity: +1 or -1 a channel [c, 1, 1]: its sign in the mirror image.
    """
    half = grid.shape[-1] // 2
    left, right = grid[..., :half], parity * grid[..., : half - 1 : -1]
    odd = np.abs(left - right) / 2
    odd -= odd.mean((1, 2), keepdims=True)
    return np.concatenate([(left + right) / 2, odd]).ravel()


def _unit(vector: np.ndarray) -> np.ndarray:
    """Scale to unit norm, except for zero, which stays zero: [d] -> [d]."""
    norm = np.sqrt((vector * vector).sum())
    return vector / norm if norm > 0 else vector
