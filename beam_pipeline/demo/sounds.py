"""The sounds of the synthetic world: small synthesizers.

A voice maps times in seconds, float64 [n], to a wave of any level, float64 [n]. Pitch
and melody vary with the random generator; the kind of sound does not.
"""

from collections.abc import Callable

import numpy as np

Voice = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _tone(hertz: float | np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * t)


def _bell(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(420, 640)
    partials = ((1, 1), (2, 0.6), (2.76, 0.45), (5.4, 0.25))
    return np.exp(-2.4 * (t % 1.5)) * sum(a * _tone(pitch * k, t) for k, a in partials)


def _engine(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(48, 70)
    hum = sum(_tone(pitch * k, t) / k for k in range(1, 9))
    return hum * (1 + 0.3 * _tone(9, t))


def _birds(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    since = t % 0.36
    pitch = rng.choice([2300, 2900, 3500], 64)[(t / 0.36).astype(int) % 64]
    return np.exp(-(((since - 0.1) / 0.05) ** 2)) * _tone(pitch + 2600 * since, since)


def _drum(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    since = t % 0.5
    skin = _tone(1, 70 * since + 3 * (1 - np.exp(-25 * since))) * np.exp(-8 * since)
    return skin + 0.25 * rng.standard_normal(t.size) * np.exp(-50 * since)


def _rain(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    drops = rng.standard_normal(t.size + 1)
    return np.diff(drops) * (1 + 0.4 * _tone(7, t) * _tone(1.3, t))


def _siren(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(700, 900)
    return _tone(1, pitch * t - 95 * np.cos(np.pi * t))


def _clock(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    pitch = np.where(t % 1 < 0.5, 1900, 1500) * rng.uniform(0.9, 1.1)
    return np.exp(-30 * (t % 0.5)) * _tone(pitch, t % 0.5)


def _flute(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    scale = 523.25 * 2 ** (np.array([0, 2, 4, 7, 9, 12]) / 12)
    pitch = rng.choice(scale, 64)[(t / 0.5).astype(int) % 64]
    since = t % 0.5
    return _tone(1, since) * (_tone(pitch, since) + 0.3 * _tone(2 * pitch, since))


VOICES: dict[str, Voice] = {
    "bell": _bell,
    "engine": _engine,
    "birds": _birds,
    "drum": _drum,
    "rain": _rain,
    "siren": _siren,
    "clock": _clock,
    "flute": _flute,
}
