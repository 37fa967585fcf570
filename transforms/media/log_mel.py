"""The log-mel spectrogram of a clip's sound, 100 frames a second.

    mel = log_mel(samples)                # float32 [160000] -> float32 [1000, 128]

The numbers are those of MBT's loaders, which AVR trains with: windows of 25 ms every
10 ms, 128 mel bins from 0 to 7600 Hz, magnitudes. They use a Hamming window;
tensorflow-io has the Hann window only.
"""

import warnings
from typing import Any

import numpy as np

from clipseed.run.clip_layout import LOG_OFFSET, MEL_BINS, MEL_FRAMES_PER_S

_WINDOW_S = 0.025
_LOW_HZ, _HIGH_HZ = 0.0, 7600.0
# With 512 points a low triangle falls between two points and stays empty.
_POINTS = 1024


def log_mel(samples: np.ndarray, rate_hz: int = 16_000) -> np.ndarray:
    """Compute `ln(mel magnitude + LOG_OFFSET)`.

    Frame i starts at 10 i ms. What the last windows lack is taken as zeros. Always on
    the CPU, so that a worker with an accelerator writes the same bytes.

    Args:
        samples: float32 [n] in [-1, 1], mono.
        rate_hz: samples a second; a multiple of 100, at least 16,000.

    Returns:
        float32 [ceil(n * 100 / rate_hz), 128], from -4.61 (silence) to about 6
        (a full-scale tone).
    """
    if not len(samples):
        return np.zeros((0, MEL_BINS), np.float32)
    tensorflow_io = _import_tensorflow_io()
    import tensorflow as tf

    with tf.device("/CPU:0"):
        spectrogram = tensorflow_io.audio.spectrogram(
            tf.constant(samples, tf.float32),
            nfft=_POINTS,
            window=round(_WINDOW_S * rate_hz),
            stride=rate_hz // MEL_FRAMES_PER_S,
        )
        mel = tensorflow_io.audio.melscale(
            spectrogram, rate=rate_hz, mels=MEL_BINS, fmin=_LOW_HZ, fmax=_HIGH_HZ
        )
        return tf.math.log(mel + LOG_OFFSET).numpy()


def _import_tensorflow_io() -> Any:
    """Import TensorFlow I/O without its warnings: its native libraries are not used."""
    with warnings.catch_warnings():
        for message in ("unable to load libtensorflow_io", "file system plugins"):
            warnings.filterwarnings("ignore", message, UserWarning)
        import tensorflow_io
    return tensorflow_io
