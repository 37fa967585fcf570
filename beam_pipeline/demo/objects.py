"""The objects of the synthetic world: their looks, independent of size and place.

An object is parts, painted in order. A part is an ink and a signed distance (negative
inside) over the square [-1, 1]², v downwards, so that edges can be anti-aliased and
outlined at any size. Every silhouette is mirror-symmetric: see `demo.world`.
"""

import math
from collections.abc import Callable

import numpy as np

Rgb = tuple[int, int, int]
Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]

DARK = (38, 34, 48)
_LIGHT = (250, 250, 245)
_GLASS = (150, 215, 245)
_GOLD = (255, 196, 50)


def _oval(x: float, y: float, rx: float, ry: float) -> Distance:
    """Return an ellipse, its distance to first order (exact on the visible edge)."""

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        u, v = (u - x) / rx, (v - y) / ry
        radius = np.sqrt(u * u + v * v)
        slope = np.sqrt((u / rx) ** 2 + (v / ry) ** 2)
        return radius * (radius - 1) / (slope + 1e-6)

    return distance


def _polygon(*corners: tuple[float, float]) -> Distance:
    """Return a convex polygon, corners clockwise as seen."""
    sides = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        sides.append((x0, y0, (y1 - y0) / length, (x0 - x1) / length))

    def distance(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.maximum.reduce(
            [(u - x) * across + (v - y) * down for x, y, across, down in sides]
        )

    return distance


def _box(x: float, y: float, rx: float, ry: float) -> Distance:
    return _polygon(
        (x - rx, y - ry), (x + rx, y - ry), (x + rx, y + ry), (x - rx, y + ry)
    )


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return a five-pointed star: fold the plane to a tenth, whose edge is a line."""
    tenth = math.pi / 5
    fold = np.abs((np.arctan2(u, -v) / tenth + 1) % 2 - 1) * tenth
    return np.hypot(u, v) * np.cos(fold - 1.177) - 0.384


def _dome(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(_oval(0, 0.1, 1, 0.95)(u, v), v - 0.1)


# Ink None is the color of the scene.
OBJECTS: dict[str, tuple[tuple[Rgb | None, Distance], ...]] = {
    "ball": (
        (None, _oval(0, 0, 1, 1)),
        (_LIGHT, _oval(0, 0, 0.42, 0.98)),
        (None, _oval(0, 0, 0.16, 0.96)),
        (DARK, _oval(0, -0.8, 0.12, 0.1)),
    ),
    "balloon": (
        (None, _polygon((-0.66, 0), (0.66, 0), (0.25, 0.5), (-0.25, 0.5))),
        (None, _oval(0, -0.3, 0.75, 0.75)),
        (_LIGHT, _oval(0, -0.3, 0.2, 0.74)),
        ((150, 95, 45), _box(0, 0.85, 0.24, 0.17)),
        (DARK, _box(-0.2, 0.58, 0.02, 0.12)),
        (DARK, _box(0.2, 0.58, 0.02, 0.12)),
    ),
    "rocket": (
        (_GOLD, _polygon((-0.22, 0.6), (0.22, 0.6), (0, 1.15))),
        (_LIGHT, _polygon((-0.3, 0.1), (-0.3, 0.6), (-0.75, 0.85))),
        (_LIGHT, _polygon((0.3, 0.1), (0.75, 0.85), (0.3, 0.6))),
        (None, _oval(0, -0.2, 0.4, 0.95)),
        (_GLASS, _oval(0, -0.35, 0.19, 0.19)),
    ),
    "robot": (
        (DARK, _box(0, -0.9, 0.04, 0.14)),
        (None, _box(0, -0.5, 0.45, 0.3)),
        (_GLASS, _box(-0.2, -0.52, 0.12, 0.1)),
        (_GLASS, _box(0.2, -0.52, 0.12, 0.1)),
        (None, _box(0, 0.22, 0.58, 0.36)),
        (_GOLD, _oval(0, 0.22, 0.16, 0.16)),
        (_LIGHT, _box(-0.78, 0.15, 0.12, 0.3)),
        (_LIGHT, _box(0.78, 0.15, 0.12, 0.3)),
        (DARK, _box(-0.28, 0.8, 0.16, 0.2)),
        (DARK, _box(0.28, 0.8, 0.16, 0.2)),
    ),
    "kite": (
        (DARK, _box(0, 0.85, 0.025, 0.35)),
        (None, _polygon((0, -1), (0.7, -0.25), (0, 0.6), (-0.7, -0.25))),
        (_LIGHT, _polygon((-0.7, -0.25), (0.7, -0.25), (0, 0.6))),
        (None, _polygon((-0.2, -0.25), (0.2, -0.25), (0, 0.6))),
        (None, _polygon((-0.25, 0.75), (0.25, 0.95), (0.25, 0.75), (-0.25, 0.95))),
        (_GOLD, _oval(0, 0.88, 0.16, 0.09)),
        (_GOLD, _oval(0, 1.15, 0.16, 0.09)),
    ),
    "butterfly": (
        (None, _oval(-0.55, -0.35, 0.48, 0.5)),
        (None, _oval(0.55, -0.35, 0.48, 0.5)),
        (None, _oval(-0.42, 0.45, 0.36, 0.4)),
        (None, _oval(0.42, 0.45, 0.36, 0.4)),
        (_LIGHT, _oval(-0.6, -0.4, 0.2, 0.22)),
        (_LIGHT, _oval(0.6, -0.4, 0.2, 0.22)),
        (_GOLD, _oval(-0.42, 0.48, 0.14, 0.16)),
        (_GOLD, _oval(0.42, 0.48, 0.14, 0.16)),
        (DARK, _oval(0, 0, 0.11, 0.75)),
    ),
    "umbrella": (
        (_GOLD, _box(0, 0.4, 0.06, 0.6)),
        (None, _dome),
        (_LIGHT, lambda u, v: np.maximum(_dome(u, v), np.abs(u) - 0.34)),
        (DARK, _oval(0, -0.88, 0.09, 0.12)),
        (_GOLD, _oval(0, 1, 0.16, 0.1)),
    ),
    "star": (
        (None, _star),
        (DARK, _oval(-0.15, -0.06, 0.06, 0.11)),
        (DARK, _oval(0.15, -0.06, 0.06, 0.11)),
        (_LIGHT, _oval(0, 0.2, 0.14, 0.06)),
    ),
}
