"""The scenes of the made world: what is filmed, photographed, and asked for at the end.

A look is a place, an object and a color. Where people film and take pictures there are
habits: each kind of object has its usual motion, each look its usual sound, so that the
caption of a picture says something about clips that look alike, as captions of real
pictures do ("a dog barks"). In the scenes of the test habits do not count: a look comes
with several motions and sounds, and only the motion and the sound decide
which.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from beam_pipeline.demo.world import (
    MOTION_PHRASES,
    SOUND_PHRASES,
    VERBS,
    Scene,
)

# Objects are brighter than these places: a small model sees where something moves
# before it can tell what.
PLACES = ("city", "forest", "moon", "reef", "lake", "volcano")
OBJECTS = tuple(VERBS)
SEEN_COLORS = ("white", "yellow", "orange", "pink")
MOTIONS, SOUNDS = tuple(MOTION_PHRASES), tuple(SOUND_PHRASES)
# Told apart by their direction in time alone.
OPPOSITES = (("left", "right"), ("rise", "sink"), ("closer", "away"))
HABIT = 0.95  # share of scenes that follow the habits of their look


class Look(NamedTuple):
    """What a still shows."""

    place: str
    object: str
    color: str


LOOKS = tuple(itertools.starmap(Look, itertools.product(PLACES, OBJECTS, SEEN_COLORS)))


class Habits(NamedTuple):
    """What is usual.

    Attributes:
        motions: of an object.
        sounds: of a look.
    """

    motions: dict[str, str]
    sounds: dict[Look, str]


def draw_habits(rng: np.random.Generator) -> Habits:
    """Draw each object's usual motion, all different, and each look's sound."""
    motions = dict(zip(OBJECTS, rng.permutation(MOTIONS).tolist(), strict=True))
    return Habits(motions, {look: _one(SOUNDS, rng) for look in LOOKS})


def draw_scenes(count: int, habits: Habits, rng: np.random.Generator) -> list[Scene]:
    """Draw scenes as people come upon them."""
    scenes = []
    for number in rng.integers(len(LOOKS), size=count):
        look = LOOKS[number]
        motion, sound = habits.motions[look.object], habits.sounds[look]
        if rng.random() > HABIT:
            motion, sound = _one(MOTIONS, rng), _one(SOUNDS, rng)
        scenes.append(_scene(look, motion, sound))
    return scenes


def draw_test(looks: int, rng: np.random.Generator) -> list[Scene]:
    """Draw groups of 16 scenes of one look: 2 pairs of opposite motions, 4 sounds.

    All differ. From stills alone a scene is one of the 16 of its look; from sound alone
    it is one of as many as sound alike.
    """
    scenes = []
    for number in rng.choice(len(LOOKS), looks, replace=False):
        pairs = rng.choice(len(OPPOSITES), 2, replace=False)
        motions = [motion for pair in pairs for motion in OPPOSITES[pair]]
        sounds = rng.choice(SOUNDS, 4, replace=False).tolist()
        for motion, sound in itertools.product(motions, sounds):
            scenes.append(_scene(LOOKS[number], motion, sound))
    return scenes


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _scene(look: Look, motion: str, sound: str) -> Scene:
    return Scene(look.place, look.object, look.color, motion, sound)
