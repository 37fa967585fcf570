"""The places of the synthetic world: backdrops painted layer by layer.

A place is layers, back to front. A layer paints into float32 [h, w, 3]; lengths are in
units of the height, so that x runs from 0 to about 1.6. The details that vary between
two visits (skylines, windows, flowers) come from the random generator only.
"""

from collections.abc import Callable

import numpy as np

Rgb = tuple[int, int, int]
Layer = Callable[[np.ndarray, np.random.Generator], None]


def paint_place(
    place: str, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Paint a backdrop at twice the size and average it, so that edges are smooth.

    Returns:
        uint8 [height, width, 3], RGB; mirrored and lit differently from visit to visit.
    """
    image = np.zeros((2 * height, 2 * width, 3), np.float32)
    for layer in PLACES[place]:
        layer(image, rng)
    image = image.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    image *= rng.uniform(0.88, 1.06, 3).astype(np.float32)  # the light of the day
    image = image if rng.random() < 0.5 else image[:, ::-1]
    return np.clip(image, 0, 255).astype(np.uint8)


def _axes(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates x [1, w] and y [h, 1] of an image, float32."""
    height, width = image.shape[:2]
    x = (np.arange(width, dtype=np.float32) + 0.5) / height
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    return x[None, :], y[:, None]


def _paint(image: np.ndarray, cover: np.ndarray, color: object) -> None:
    image += cover[..., None] * (np.asarray(color, np.float32) - image)


def _mix(a: Rgb, b: Rgb, part: np.ndarray) -> np.ndarray:
    """Mix two colors: float32 [..., 3]."""
    low, high = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return low + np.clip(part, 0, 1)[..., None] * (high - low)


def _sky(top: Rgb, bottom: Rgb) -> Layer:
    def layer(image: np.ndarray, rng: np.random.Generator) -> None:
        image[:] = _mix(top, bottom, _axes(image)[1] * 1.4)

    return layer


def _glow(x: float, y: float, radius: float, color: Rgb) -> Layer:
    """Paint a sun or a moon, with its halo."""

    def layer(image: np.ndarray, rng: np.random.Generator) -> None:
        xs, ys = _axes(image)
        far = np.hypot(xs - x - rng.uniform(-0.1, 0.1), ys - y) - radius
        cover = np.where(far < 0, 1, 0.6 * np.exp(-np.maximum(far, 0) / radius))
        _paint(image, cover, color)

    return layer


def _ridge(
    base: float,
    rise: float,
    crest: Rgb,
    foot: Rgb,
    peaks: float = 0,
    snow: float = 0,
    strata: float = 0.12,
) -> Layer:
    """Paint land below a random skyline: round hills, or mountains of `peaks`."""

    def layer(image: np.ndarray, rng: np.random.Generator) -> None:
        x, y = _axes(image)
        line = np.zeros_like(x)
        for k in range(1, 4):
            phase = (peaks or 0.7) * k * x + rng.random()
            tent = np.abs(phase % 1 * 2 - 1)
            line += (tent if peaks else 0.5 + 0.5 * np.sin(2 * np.pi * phase)) / k / 1.8
        depth = y - (base - rise * line)
        bands = strata * np.sin(60 * (y if strata > 0.2 else depth) + 4 * np.sin(5 * x))
        land = _mix(crest, foot, depth / (1.1 - base + rise) + bands)
        if snow:
            edge = snow + 0.03 * np.sin(40 * x) + 0.02 * np.sin(97 * x)
            land[depth < edge] = (246, 249, 255)
        _paint(image, (depth > 0).astype(np.float32), land)

    return layer


def _scatter(
    count: int,
    band: tuple[float, float],
    size: tuple[float, float],
    colors: tuple[Rgb, ...],
    flat: float = 1.0,
    cover: float = 1.0,
) -> Layer:
    """Paint random ovals between two heights: flowers, stars, clouds, stones."""

    def layer(image: np.ndarray, rng: np.random.Generator) -> None:
        xs, ys = _axes(image)
        height, width = image.shape[:2]
        for _ in range(count):
            x, y = rng.uniform(0, width / height), rng.uniform(*band)
            radius = rng.uniform(*size)
            rows = slice(*np.searchsorted(ys[:, 0], (y - radius, y + radius)))
            cols = slice(*np.searchsorted(xs[0], (x - radius, x + radius)))
            far = np.hypot(xs[:, cols] - x, (ys[rows] - y) / flat) < radius
            _paint(image[rows, cols], far * cover, colors[rng.integers(len(colors))])

    return layer


def _columns(
    count: int, wide: float, tops: tuple[float, float], ink: Rgb, lit: Rgb | None
) -> Layer:
    """Paint upright bodies from the ground: towers with lit windows, or tree trunks."""

    def layer(image: np.ndarray, rng: np.random.Generator) -> None:
        xs, ys = _axes(image)
        for k in range(count):
            x = (k + rng.uniform(0.1, 0.9)) * xs[0, -1] / count
            half = wide * rng.uniform(0.6, 1.2)
            cols = slice(*np.searchsorted(xs[0], (x - half, x + half)))
            rows = slice(max(int(rng.uniform(*tops) * image.shape[0]), 0), None)
            side = (xs[:, cols] - x) / half
            body = image[rows, cols]
            body[:] = np.asarray(ink) * (1 + 0.5 * side - 0.2 * side**2)[..., None]
            if lit:
                col, row = (xs[:, cols] - x + half) / 0.035, ys[rows] / 0.05
                pane = (col % 1 > 0.4) & (row % 1 > 0.45) & (np.abs(side) < 0.9)
                on = rng.random((64, 64)) < 0.55
                _paint(body, pane & on[row.astype(int), col.astype(int)], lit)

    return layer


def _plane(base: float, kind: str, a: Rgb, b: Rgb) -> Layer:
    """Paint ground in perspective below the horizon `base`: waves, rows, or tiles."""

    def layer(image: np.ndarray, rng: np.random.Generator) -> None:
        x, y = _axes(image)
        near = np.maximum(y - base, 0.004)
        across = (x - rng.uniform(0.6, 1.0)) / near
        if kind == "waves":
            tone = np.sin(22 * np.log(near + 0.06) + 1.4 * np.sin(6 * x + 9 * y))
        elif kind == "rows":
            tone = np.sin(5 * across)
        else:
            tone = np.sign(np.sin(3.2 * across) * np.sin(1.6 / (near + 0.02)))
        mist = np.clip(near / 0.12, 0.25, 1)
        _paint(image, (y > base) * np.ones_like(x), _mix(a, b, 0.5 + 0.5 * tone * mist))

    return layer


def _bands(a: Rgb, b: Rgb, upright: float, level: float, reach: float) -> Layer:
    """Paint soft stripes down to the height `reach`: wallpaper, strata, light."""

    def layer(image: np.ndarray, rng: np.random.Generator) -> None:
        x, y = _axes(image)
        bend = 0.4 * np.sin(3 * x + rng.uniform(0, 6)) + rng.uniform(0, 6)
        tone = np.sin(upright * x + level * y + bend)
        _paint(
            image,
            np.clip(8 * (reach - y), 0, 1) * np.ones_like(x),
            _mix(a, b, 0.5 + 0.6 * tone),
        )

    return layer


PLACES: dict[str, tuple[Layer, ...]] = {
    "meadow": (
        _sky((74, 160, 240), (206, 232, 250)),
        _scatter(14, (0.08, 0.25), (0.05, 0.11), ((252, 253, 255),), 0.45, 0.8),
        _ridge(0.62, 0.14, (128, 178, 92), (90, 150, 70)),
        _ridge(0.74, 0.08, (112, 190, 62), (44, 120, 34)),
        _scatter(90, (0.74, 1), (0.006, 0.014), ((250, 235, 90), (250, 250, 250))),
    ),
    "city": (
        _sky((12, 14, 44), (72, 58, 120)),
        _scatter(60, (0, 0.4), (0.002, 0.005), ((240, 240, 255),)),
        _glow(1.2, 0.17, 0.07, (246, 240, 214)),
        _columns(15, 0.09, (0.28, 0.55), (44, 42, 84), (150, 130, 120)),
        _columns(10, 0.1, (0.45, 0.75), (22, 22, 44), (255, 214, 110)),
    ),
    "sea": (
        _sky((150, 205, 240), (240, 246, 248)),
        _scatter(8, (0.1, 0.3), (0.06, 0.14), ((255, 255, 255),), 0.3, 0.7),
        _plane(0.42, "waves", (14, 92, 150), (92, 186, 214)),
    ),
    "desert": (
        _sky((250, 190, 90), (255, 236, 190)),
        _glow(0.35, 0.2, 0.1, (255, 250, 220)),
        _ridge(0.6, 0.2, (226, 166, 88), (190, 120, 60)),
        _ridge(0.78, 0.2, (244, 196, 116), (206, 138, 66)),
        _scatter(10, (0.85, 0.98), (0.01, 0.03), ((120, 82, 50),), 0.5),
    ),
    "forest": (
        _sky((168, 208, 140), (84, 140, 70)),
        _columns(16, 0.025, (-0.1, 0), (104, 122, 74), None),
        _scatter(90, (0, 0.25), (0.04, 0.1), ((70, 130, 50), (96, 158, 64)), 0.7, 0.8),
        _ridge(0.84, 0.05, (60, 104, 44), (28, 60, 26)),
        _columns(7, 0.05, (-0.1, 0), (82, 54, 34), None),
        _scatter(50, (-0.02, 0.12), (0.05, 0.12), ((30, 86, 36), (44, 110, 44)), 0.7),
        _scatter(24, (0.92, 1), (0.03, 0.06), ((36, 88, 38), (62, 118, 48)), 0.9),
    ),
    "mountains": (
        _sky((176, 200, 226), (234, 240, 248)),
        _ridge(0.62, 0.42, (126, 142, 170), (170, 186, 206), peaks=1.1, snow=0.1),
        _ridge(0.8, 0.4, (84, 94, 116), (120, 134, 158), peaks=1.5, snow=0.13),
        _ridge(0.9, 0.06, (240, 246, 252), (208, 222, 238)),
        _scatter(70, (0, 1), (0.004, 0.009), ((255, 255, 255),), 1.0, 0.9),
    ),
    "moon": (
        _sky((4, 4, 10), (16, 16, 34)),
        _scatter(120, (0, 0.6), (0.002, 0.006), ((255, 255, 255), (190, 210, 255))),
        _glow(0.4, 0.22, 0.1, (70, 130, 220)),
        _ridge(0.68, 0.07, (176, 176, 180), (96, 96, 102)),
        _scatter(26, (0.72, 1), (0.02, 0.1), ((122, 122, 128), (150, 150, 156)), 0.35),
    ),
    "reef": (
        _sky((60, 190, 205), (8, 70, 120)),
        _bands((40, 160, 190), (24, 128, 168), 14, -9, 0.65),
        _ridge(0.82, 0.18, (30, 92, 112), (12, 50, 78)),
        _scatter(30, (0.84, 1), (0.03, 0.08), ((226, 96, 110), (240, 160, 90))),
        _scatter(20, (0.9, 1), (0.02, 0.06), ((176, 92, 180), (250, 200, 120))),
        _scatter(40, (0.05, 0.8), (0.006, 0.016), ((190, 236, 244),), 1.0, 0.6),
    ),
    "lavender": (
        _sky((250, 214, 200), (255, 240, 214)),
        _ridge(0.46, 0.12, (120, 140, 150), (150, 160, 150)),
        _plane(0.46, "rows", (92, 62, 156), (176, 136, 214)),
        _scatter(120, (0.6, 1), (0.004, 0.012), ((206, 170, 236), (120, 160, 90))),
    ),
    "hall": (
        _bands((196, 74, 66), (232, 206, 160), 36, 0, 0.8),
        _columns(5, 0.05, (-0.1, 0), (214, 206, 190), None),
        _plane(0.6, "tiles", (30, 30, 36), (236, 232, 224)),
    ),
    "lake": (
        _sky((92, 58, 130), (255, 150, 100)),
        _glow(0.8, 0.45, 0.09, (255, 226, 130)),
        _ridge(0.55, 0.12, (70, 40, 84), (60, 34, 74), peaks=1.8),
        _plane(0.55, "waves", (96, 52, 104), (246, 146, 110)),
        _columns(40, 0.004, (0.74, 0.94), (34, 26, 40), None),
    ),
    "canyon": (
        _sky((96, 178, 226), (206, 226, 232)),
        _scatter(5, (0.05, 0.15), (0.05, 0.09), ((255, 255, 255),), 0.35, 0.8),
        _ridge(0.5, 0.25, (214, 128, 92), (170, 92, 70), peaks=0.9, strata=0.3),
        _ridge(0.85, 0.9, (198, 92, 52), (120, 46, 34), peaks=0.75, strata=0.5),
        _ridge(0.93, 0.05, (226, 150, 98), (190, 110, 66)),
        _scatter(16, (0.9, 1), (0.012, 0.03), ((84, 120, 60), (112, 60, 40)), 0.7),
    ),
    "volcano": (
        _sky((36, 22, 34), (150, 50, 36)),
        _scatter(12, (0.05, 0.3), (0.08, 0.16), ((58, 42, 50), (74, 48, 50)), 0.4, 0.8),
        _ridge(0.9, 0.8, (232, 96, 30), (24, 12, 20), peaks=0.6, strata=0.05),
        _ridge(0.88, 0.12, (44, 34, 38), (20, 16, 20), peaks=1.6),
        _scatter(60, (0.1, 0.95), (0.003, 0.008), ((255, 170, 60), (255, 110, 40))),
    ),
    "ice": (
        _sky((6, 16, 44), (20, 60, 90)),
        _scatter(70, (0, 0.5), (0.002, 0.005), ((235, 245, 255),)),
        _bands((16, 40, 74), (70, 214, 150), 9, 4, 0.55),
        _ridge(0.62, 0.16, (226, 240, 250), (120, 176, 208), peaks=2.3),
        _plane(0.62, "tiles", (176, 212, 232), (214, 234, 246)),
    ),
}
