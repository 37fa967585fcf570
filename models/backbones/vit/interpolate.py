"""Pretrained patch embeddings and positions for another input than they were made for.

A checkpoint over 14 x 14 patches of pictures serves spectrograms of 8 x 50 patches and
videos of 16 x 14 x 14 tubelets.
"""

from typing import Literal

import jax
import numpy as np

from clipseed.errors import InputError

Method = Literal["linear", "bicubic"]


def fit_positions(
    positions: np.ndarray,
    extra: int,
    grid: tuple[int, ...],
    new_grid: tuple[int, ...],
    method: Method = "linear",
) -> np.ndarray:
    """Fit positional embeddings to another grid of patches.

    Each axis is interpolated between the centers of patches (half-pixel centers, held
    constant beyond the outermost, no smoothing before a reduction). A grid that has
    more axes repeats the embeddings along the new, leading ones: frames start with the
    positions of a picture.

    Args:
        positions: float32 [extra + prod(grid), d], the grid in C order.
        extra: how many come first and belong to no patch; they are kept.
        grid: patches along each axis.
        new_grid: patches along each axis, `len(grid)` axes or more.
        method: `linear`, or `bicubic` as `torch` interpolates (Keys' kernel with
            a = -0.75), which published models with free input sizes rely on.

    Returns:
        float32 [extra + prod(new_grid), d].

    Raises:
        InputError: `checkpoint_mismatch` if `new_grid` has fewer axes, or `positions`
            are not of `grid`.
    """
    new_axes = len(new_grid) - len(grid)
    rows = extra + int(np.prod(grid))
    if new_axes < 0 or len(positions) != rows:
        raise InputError(
            "checkpoint_mismatch",
            f"{len(positions)} positions of a grid {grid} and {extra} extra tokens do "
            f"not fit a grid {new_grid}: give the configuration they were made with",
        )
    if grid == new_grid:
        return positions
    width = positions.shape[-1]
    patches = positions[extra:].reshape(*grid, width)
    shape = (*new_grid[new_axes:], width)
    resized = patches
    if method == "linear":
        resized = jax.image.resize(patches, shape, "linear", antialias=False)
    else:
        for axis, (old, new) in enumerate(zip(grid, shape[:-1], strict=True)):
            weights = _cubic_weights(old, new)
            resized = np.moveaxis(np.tensordot(weights, resized, (1, axis)), 0, axis)
    repeated = np.broadcast_to(np.asarray(resized), (*new_grid, width))
    return np.concatenate([positions[:extra], repeated.reshape(-1, width)])


def _cubic_weights(old: int, new: int) -> np.ndarray:
    """Return what each of `new` points is made of: float32 [new, old]."""
    a = -0.75
    places = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(places).astype(int)
    weights = np.zeros((new, old))
    for offset in range(-1, 3):
        x = np.abs(places - (first + offset))
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * (x**3 - 5 * x**2 + 8 * x - 4)
        columns = np.clip(first + offset, 0, old - 1)
        np.add.at(weights, (np.arange(new), columns), np.where(x <= 1, near, far))
    return weights.astype(np.float32)


def fit_kernel(kernel: np.ndarray, patch: tuple[int, ...], channels: int) -> np.ndarray:
    """Fit the kernel of a patch embedding to another number of channels or axes.

    One channel gets the sum over the channels, so that a gray input yields what the
    same gray in every channel yielded. A patch with one more, leading axis (a tubelet)
    gets the kernel at its central frame and zeros elsewhere, so that it starts by
    seeing one frame (Arnab et al., "ViViT", central frame initialization).

    Args:
        kernel: float32 [*patch, channels, d].
        patch: wanted size of a patch.
        channels: wanted number of channels.

    Returns:
        float32 [*patch, channels, d] of the wanted sizes; a difference that neither
        rule covers is left for the caller's check of shapes.
    """
    if channels == 1:
        kernel = kernel.sum(axis=-2, keepdims=True)
    if len(patch) == kernel.ndim - 1 and patch[1:] == kernel.shape[:-2]:
        tubelet = np.zeros((patch[0], *kernel.shape), kernel.dtype)
        tubelet[patch[0] // 2] = kernel
        return tubelet
    return kernel
