"""Seed images of the synthetic world."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def reframe(still: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crop, maybe mirror, and recolor uint8 [h, w, 3], RGB."""
    sides = still.shape[:2]
    height, width = (int(rng.uniform(0.86, 0.95) * side) for side in sides)
    top = rng.integers(sides[0] - height + 1)
    left = rng.integers(sides[1] - width + 1)
    still = still[top : top + height, left : left + width]
    if rng.random() < 0.5:
        still = still[:, ::-1]
    return np.clip(still * rng.uniform(0.88, 1.1, 3), 0, 255).astype(np.uint8)


def write_still(path: Path, still: np.ndarray, height: int, width: int) -> None:
    """Write uint8 [h, w, 3], RGB, as a JPEG of another size.

    The same pixels yield the same bytes.
    """
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(still), format="rgb24")
    size = (width, height, "yuvj420p")
    frame = frame.reformat(*size, interpolation="BICUBIC", threads=1)
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuvj420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"qmin": "4", "qmax": "4"}
    path.write_bytes(b"".join(map(bytes, codec.encode(frame) + codec.encode(None))))
