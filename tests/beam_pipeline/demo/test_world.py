"""What a scene of the demo says, shows and sounds like."""

import numpy as np
import pytest

from beam_pipeline.demo.corpus import CAMERA
from beam_pipeline.demo.world import (
    COLORS,
    MOTION_PHRASES,
    PERIOD_S,
    PLACE_PHRASES,
    RMS,
    SOUND_PHRASES,
    VERBS,
    Scene,
    caption,
    draw,
    sound,
)

BALL = Scene("meadow", "ball", "red", "left", "bell")


def test_a_caption_says_all_five_facts() -> None:
    assert caption(BALL) == (
        "a red ball rolls to the left over a meadow while a bell rings"
    )
    assert caption(Scene("sea", "kite", "orange", "circle", "rain")) == (
        "an orange kite glides in circles over the sea while rain patters"
    )


def test_every_fact_changes_the_caption() -> None:
    captions = {
        caption(Scene(place, object_, color, motion, sound_))
        for place in PLACE_PHRASES
        for object_ in VERBS
        for color in COLORS
        for motion in MOTION_PHRASES
        for sound_ in SOUND_PHRASES
    }
    assert len(captions) == len(PLACE_PHRASES) * 8**4


def test_an_unknown_fact_is_refused() -> None:
    with pytest.raises(ValueError, match="'plaid' is not one of red, orange"):
        Scene("meadow", "ball", "plaid", "left", "bell")


@pytest.mark.parametrize("place", PLACE_PHRASES)
def test_a_place_is_textured_and_varies_with_the_seed(place: str) -> None:
    scene = Scene(place, "ball", "red", "left", "bell")
    image = draw(scene, 1.0)
    assert image.dtype == np.uint8
    assert image.shape == (240, 320, 3)
    assert image.std() > 20
    assert np.abs(image.astype(int) - draw(scene, 1.0, seed=1)).mean() > 5


@pytest.mark.parametrize("object_", VERBS)
def test_color_is_seen_on_every_object(object_: str) -> None:
    red = Scene("moon", object_, "red", "circle", "bell")
    image = draw(red, PERIOD_S / 2).astype(int)
    reddish = (image[..., 0] > 150) & (image[..., 1] < 90) & (image[..., 2] < 90)
    assert 400 < reddish.sum() < 10_000


def reddish_center(scene: Scene, t_s: float) -> tuple[float, float, int]:
    """Return the mean x, y of what is red on the gray moon, and its area."""
    image = draw(scene, t_s).astype(int)
    y, x = np.nonzero((image[..., 0] > 150) & (image[..., 1] < 90))
    return float(x.mean()), float(y.mean()), x.size


@pytest.mark.parametrize(
    ("motion", "what", "sign"),
    [
        ("left", 0, -1),
        ("right", 0, 1),
        ("rise", 1, -1),
        ("sink", 1, 1),
        ("closer", 2, 1),
        ("away", 2, -1),
    ],
)
def test_a_motion_goes_where_its_name_says(motion: str, what: int, sign: int) -> None:
    scene = Scene("moon", "star", "red", motion, "bell")
    before, after = reddish_center(scene, 2.4), reddish_center(scene, 3.4)
    assert sign * (after[what] - before[what]) > 20


def test_a_still_in_mid_motion_does_not_tell_left_from_right() -> None:
    # Different scenes have different backdrops: compare the object's own pixels.
    for object_ in VERBS:
        centers = [
            reddish_center(Scene("moon", object_, "red", motion, "bell"), PERIOD_S / 2)
            for motion in ("left", "right")
        ]
        assert centers[0] == pytest.approx(centers[1], rel=0.03)


@pytest.mark.parametrize("voice", SOUND_PHRASES)
def test_a_sound_has_its_energy_and_is_not_clipped(voice: str) -> None:
    scene = Scene("sea", "ball", "red", "left", voice)
    wave = sound(scene, 9 * CAMERA.rate, CAMERA.rate)
    assert wave.dtype == np.float32
    assert wave.shape == (9 * CAMERA.rate,)
    assert np.sqrt(np.mean(np.square(wave))) == pytest.approx(RMS, rel=1e-3)
    assert np.abs(wave).max() < 0.9
    seconds = np.sqrt(np.mean(np.square(wave.reshape(9, CAMERA.rate)), axis=1))
    assert seconds.min() > RMS / 4  # something is heard in every second


def test_kinds_of_sound_differ_in_spectrum_or_rhythm() -> None:
    waves = [
        sound(Scene("sea", "ball", "red", "left", voice), 4 * CAMERA.rate, CAMERA.rate)
        for voice in SOUND_PHRASES
    ]
    # Energy in 20 ms by third-octave-like bands, over time: what an ear can tell.
    grams = []
    for wave in waves:
        power = np.abs(np.fft.rfft(wave.reshape(200, -1), axis=1)[:, 1:257]) ** 2
        gram = np.log(power.reshape(200, 32, 8).sum(axis=2) + 1e-6).ravel()
        grams.append((gram - gram.mean()) / np.linalg.norm(gram - gram.mean()))
    likeness = np.stack(grams) @ np.stack(grams).T - np.eye(len(grams))
    assert likeness.max() < 0.9
