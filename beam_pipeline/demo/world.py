"""A small synthetic world: moving, sounding scenes that a caption describes fully.

A scene is five independent facts. Color and object can only be seen, the kind of sound
can only be heard, and the direction of a motion is visible only over time: every object
is mirror-symmetric, so that no still reveals its direction. Everything is computed from
a seed; the same arguments yield the same arrays.

    >>> caption(Scene("meadow", "ball", "red", "left", "bell"))
    'a red ball rolls to the left over a meadow while a bell rings'
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from beam_pipeline.demo.objects import DARK, OBJECTS
from beam_pipeline.demo.places import paint_place
from beam_pipeline.demo.sounds import VOICES

PERIOD_S = 6.0  # One round of every motion; at half of it the object is well in view.
RMS = 0.08  # The level of every sound; leaves room for the sharpest attack.

COLORS = {
    "red": (222, 45, 38),
    "orange": (247, 144, 30),
    "yellow": (250, 220, 50),
    "green": (46, 160, 67),
    "blue": (40, 90, 220),
    "purple": (140, 60, 190),
    "pink": (250, 130, 190),
    "white": (244, 244, 240),
}
VERBS = {
    "ball": "rolls",
    "balloon": "floats",
    "rocket": "flies",
    "robot": "marches",
    "kite": "glides",
    "butterfly": "flutters",
    "umbrella": "drifts",
    "star": "soars",
}
MOTION_PHRASES = {
    "left": "{verb} to the left",
    "right": "{verb} to the right",
    "rise": "{verb} upwards",
    "sink": "{verb} downwards",
    "bounce": "bounces up and down",
    "circle": "{verb} in circles",
    "closer": "comes closer",
    "away": "moves away",
}
PLACE_PHRASES = {
    "meadow": "over a meadow",
    "city": "above a city at night",
    "sea": "over the sea",
    "desert": "in the desert",
    "forest": "in a forest",
    "mountains": "among snowy mountains",
    "moon": "on the moon",
    "reef": "under water at a reef",
    "lavender": "over a lavender field",
    "hall": "in a hall with a chequered floor",
    "lake": "by a lake at sunset",
    "canyon": "in a red canyon",
    "volcano": "before a volcano",
    "ice": "over the ice under northern lights",
}
SOUND_PHRASES = {
    "bell": "a bell rings",
    "engine": "an engine hums",
    "birds": "birds chirp",
    "drum": "a drum beats",
    "rain": "rain patters",
    "siren": "a siren wails",
    "clock": "a clock ticks",
    "flute": "a flute plays",
}


@dataclass(frozen=True)
class Scene:
    """Five facts, each a key of the vocabulary above.

    Raises:
        ValueError: a fact is not in the vocabulary.
    """

    place: str
    object: str
    color: str
    motion: str
    sound: str

    def __post_init__(self) -> None:
        for word, known in (
            (self.place, PLACE_PHRASES),
            (self.object, VERBS),
            (self.color, COLORS),
            (self.motion, MOTION_PHRASES),
            (self.sound, SOUND_PHRASES),
        ):
            if word not in known:
                raise ValueError(f"{word!r} is not one of {', '.join(known)}")


def caption(scene: Scene) -> str:
    """Describe all five facts in one sentence that no other scene has."""
    article = "an" if scene.color[0] in "aeiou" else "a"
    motion = MOTION_PHRASES[scene.motion].format(verb=VERBS[scene.object])
    place, sound_ = PLACE_PHRASES[scene.place], SOUND_PHRASES[scene.sound]
    return f"{article} {scene.color} {scene.object} {motion} {place} while {sound_}"


def draw(
    scene: Scene,
    t_s: float,
    height: int = 240,
    width: int = 320,
    seed: int = 0,
    zoom: float = 1.0,
) -> np.ndarray:
    """Draw one instant of a scene, with a gently panning camera.

    Args:
        scene: what to show.
        t_s: seconds since the scene began.
        height: of the frame, in pixels.
        width: of the frame, in pixels.
        seed: varies the layout and the light of the place.
        zoom: magnification of the object.

    Returns:
        uint8 [height, width, 3], RGB.
    """
    backdrop = _backdrop(scene, height, width, seed)
    pan_px = (backdrop.shape[1] - width) * (0.5 + 0.5 * math.sin(t_s / 3))
    frame = backdrop[:, int(pan_px) : int(pan_px) + width].copy()
    _stamp(frame, scene, t_s, zoom)
    return frame


def sound(scene: Scene, n_samples: int, rate: int, seed: int = 0) -> np.ndarray:
    """Synthesize the sound of a scene from its beginning.

    Returns:
        float32 [n_samples], mono, root mean square `RMS`, peaks below 1.
    """
    t = np.arange(n_samples) / rate
    wave = VOICES[scene.sound](t, _generator(scene, seed))
    level = np.sqrt(np.mean(np.square(wave))) if n_samples else 1.0
    return (wave * (RMS / max(level, 1e-9))).astype(np.float32)


def _generator(scene: Scene, seed: int) -> np.random.Generator:
    """Return a generator that depends on the scene only, not on its corpus."""
    return np.random.default_rng([seed, zlib.crc32(caption(scene).encode())])


# Round in [0, 1) → center x, y (of the frame) and size; in view at 0.5.
_MOTIONS: dict[str, Callable[[float], tuple[float, float, float]]] = {
    "left": lambda p: (1.2 - 1.4 * p, 0.56, 1.0),
    "right": lambda p: (1.4 * p - 0.2, 0.56, 1.0),
    "rise": lambda p: (0.5, 1.3 - 1.6 * p, 1.0),
    "sink": lambda p: (0.5, 1.6 * p - 0.3, 1.0),
    "bounce": lambda p: (0.5, 0.7 - 0.42 * abs(math.sin(3 * math.pi * p)), 1.0),
    "circle": lambda p: (
        0.5 + 0.24 * math.sin(2 * math.pi * p),
        0.52 + 0.2 * math.cos(2 * math.pi * p),
        1.0,
    ),
    "closer": lambda p: (0.5, 0.5, 0.4 + 1.2 * p),
    "away": lambda p: (0.5, 0.5, 1.6 - 1.2 * p),
}


def _stamp(frame: np.ndarray, scene: Scene, t_s: float, zoom: float) -> None:
    """Draw the object of a scene into `frame`, uint8 [h, w, 3], in place."""
    height, width = frame.shape[:2]
    x, y, size = _MOTIONS[scene.motion](t_s / PERIOD_S % 1)
    x_px, y_px, radius_px = x * width, y * height, 0.21 * zoom * size * height
    reach_px = 1.4 * radius_px
    rows = slice(max(int(y_px - reach_px), 0), max(int(y_px + reach_px), 0))
    cols = slice(max(int(x_px - reach_px), 0), max(int(x_px + reach_px), 0))
    view = np.moveaxis(frame[rows, cols], 2, 0)  # [3, h, w]: numpy likes long rows
    if not view.size:
        return
    v, u = np.indices(view.shape[1:], np.float32)
    u, v = (u + (cols.start - x_px)) / radius_px, (v + (rows.start - y_px)) / radius_px
    paint, cover = _paint_object(scene, u, v, t_s, 1 / radius_px)
    view[:] = view + cover * (paint - view)


def _paint_object(
    scene: Scene, u: np.ndarray, v: np.ndarray, t_s: float, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Paint an object over a grid: colors [3, h, w] in 0..255, cover [h, w] in 0..1.

    Args:
        scene: the scene of the object.
        u: float32 [h, w], to the right; the object fills about [-1, 1].
        v: float32 [h, w], downwards.
        t_s: seconds since the scene began.
        pixel: the size of a pixel on the grid, over which edges are smoothed.
    """
    light = 1.08 - 0.16 * (u + v)
    turn = _turn(scene, t_s)
    cos, sin = math.cos(turn), math.sin(turn)
    u, v = u * cos + v * sin, v * cos - u * sin
    if scene.object == "butterfly":
        u = u / (0.78 + 0.22 * math.cos(9 * t_s))
    parts = [(ink, distance(u, v)) for ink, distance in OBJECTS[scene.object]]
    paint = np.empty((3, *u.shape), np.float32)
    paint[:] = np.reshape(DARK, (3, 1, 1))
    for ink, distance in parts:
        color = np.reshape(ink or COLORS[scene.color], (3, 1, 1)).astype(np.float32)
        paint += np.clip(0.5 - distance / pixel, 0, 1) * (color - paint)
    outline = np.minimum.reduce([distance for _, distance in parts]) - 0.07
    return np.clip(paint * light, 0, 255), np.clip(0.5 - outline / pixel, 0, 1)


def _turn(scene: Scene, t_s: float) -> float:
    """Return the angle of an object: a ball rolls where it moves, the others sway."""
    if scene.object == "ball" and scene.motion in ("left", "right"):
        return (1 if scene.motion == "right" else -1) * 1.6 * t_s
    return 0.14 * math.sin(2.2 * t_s)


@lru_cache(maxsize=4)
def _backdrop(scene: Scene, height: int, width: int, seed: int) -> np.ndarray:
    """Paint the place of a scene, a fifth wider than the frame for the camera's pan."""
    return paint_place(scene.place, height, int(1.2 * width), _generator(scene, seed))
