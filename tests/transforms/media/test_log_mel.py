"""The log-mel spectrogram against a computation of its own in numpy."""

import subprocess
import sys

import numpy as np
import pytest

from clipseed.run.clip_layout import LOG_OFFSET
from transforms.media.log_mel import log_mel


def noise(count: int) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, 0.1, count)
    return samples.astype(np.float32)


def mel_of(hz: np.ndarray) -> np.ndarray:
    """Return frequencies in mel, by the HTK formula."""
    return 1127 * np.log1p(hz / 700)


def mel_edges() -> np.ndarray:
    """Return the corners of 128 triangles between 0 and 7600 Hz, in mel [130]."""
    return np.linspace(0, float(mel_of(np.array(7600))), 130)


def expected_log_mel(samples: np.ndarray) -> np.ndarray:
    """float64 [n // 160, 128], straight from the definition."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    padded = np.concatenate([samples.astype(float), np.zeros(400)])
    starts = range(0, len(samples), 160)
    spectrum = np.stack(
        [np.fft.rfft(padded[s : s + 400] * window, 1024) for s in starts]
    )
    mel = mel_of(np.arange(513) * 16_000 / 1024)[:, np.newaxis]
    edges = mel_edges()
    up = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    down = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(up, down))
    bank[0] = 0  # the constant part belongs to no band
    return np.log(np.abs(spectrum) @ bank + LOG_OFFSET)


def test_equals_its_definition() -> None:
    samples = noise(40_000)
    got = log_mel(samples)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected_log_mel(samples), atol=1e-3)


@pytest.mark.parametrize(
    ("count", "frames"), [(160_000, 1000), (16_000, 100), (16_001, 101), (1, 1), (0, 0)]
)
def test_a_second_has_100_frames(count: int, frames: int) -> None:
    assert log_mel(noise(count)).shape == (frames, 128)


@pytest.mark.parametrize("hz", [150, 440, 1000, 3000, 7000])
def test_a_tone_peaks_in_its_bin(hz: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000)
    peaks = log_mel(tone.astype(np.float32))[10:-10].argmax(axis=1)
    nearest = np.abs(mel_edges()[1:-1] - mel_of(np.array(hz))).argmin()
    # Below some 500 Hz a band is narrower than the step between two points (15.6 Hz).
    assert np.abs(peaks - nearest).max() <= (1 if hz < 500 else 0)


def test_range_from_silence_to_full_scale() -> None:
    silence = log_mel(np.zeros(16_000, np.float32))
    np.testing.assert_allclose(silence, np.log(LOG_OFFSET), atol=1e-6)
    square = np.sign(np.sin(2 * np.pi * 3000 * np.arange(16_000) / 16_000))
    assert 5.5 < log_mel(square.astype(np.float32)).max() < 6.5


def test_every_band_hears() -> None:
    assert (log_mel(noise(16_000)).max(axis=0) > np.log(LOG_OFFSET) + 1).all()


def test_same_input_same_bytes() -> None:
    samples = noise(160_000)
    first = log_mel(samples).tobytes()
    assert all(log_mel(samples).tobytes() == first for _ in range(3))


def test_nothing_of_tensorflow_io_is_said_and_nothing_imported_early() -> None:
    script = (
        "import sys; from transforms.media.log_mel import log_mel; import numpy\n"
        "assert 'tensorflow' not in sys.modules\n"
        "import warnings; warnings.simplefilter('error', UserWarning)\n"
        "log_mel(numpy.ones(160, 'float32'))\n"
        "warnings.warn('heard')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.stderr.rstrip().endswith("UserWarning: heard")
    assert "tensorflow_io" not in done.stderr
