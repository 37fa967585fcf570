"""The sound of an interval of video: 16 kHz mono, and a verdict on it.

    sound = read_sound("concert.mp4", 20_000_000, 30_000_000)
    sound.verdict, sound.samples.shape            # "ok", (160000,)

PyAV decodes, pydub downmixes and judges raw PCM (so no ffmpeg binary is called), and
libswresample changes the rate. pydub's own `set_frame_rate` interpolates linearly with
no low-pass filter before it: from 44.1 to 16 kHz a 12 kHz tone comes back as a false
4 kHz tone only 2 dB weaker (libswresample: 95 dB weaker), and a 6 kHz tone is wrong by
-24 dB (-86 dB).
"""

import warnings
from typing import NamedTuple

import av
import numpy as np

from transforms.media.audio_decoder import AudioBuffer, Run, record
from transforms.media.container import open_media
from transforms.media.media_file import Source

with warnings.catch_warnings():
    # pydub looks for a binary when it is imported; raw PCM needs none.
    warnings.filterwarnings("ignore", "Couldn't find ffmpeg", RuntimeWarning)
    from pydub import AudioSegment

NONE = "none"
BROKEN = "broken"
SILENT = "silent"
CLIPPED = "clipped"
OK = "ok"

# Below this root mean square a 16-bit signal is mostly its own rounding and hum.
SILENT_BELOW_DBFS = -60.0
# Share of a channel's samples at full scale. Loud masters touch it in some 1e-4 of
# theirs (vas_fireworks of the test data: 2e-4); overdriven ones beyond 1e-3.
CLIPPED_SHARE = 0.001

_FULL_SCALE = 32767


class Sound(NamedTuple):
    """What was heard in an interval.

    Attributes:
        verdict: `none` (no audio track), `broken` (it cannot be decoded, or breaks in
            the interval: what came before is kept, silence replaces the rest),
            `silent`, `clipped` or `ok`.
        samples: int16 [n], mono; empty where nothing could be decoded.
        message: why, in words; empty when `ok`.
    """

    verdict: str
    samples: np.ndarray
    message: str


def read_sound(
    source: Source,
    start_us: int,
    end_us: int,
    rate_hz: int = 16_000,
    deadline_s: float = float("inf"),
) -> Sound:
    """Read the sound of `[start_us, end_us)`; where the track has none, zeros.

    The file is opened for each interval (2 ms): AAC decoders fill bands with noise from
    a generator that only a new decoder restarts, and an interval's bytes must not
    depend on the intervals read before it.

    Args:
        source: a local file.
        start_us: from the container's start.
        end_us: from the container's start, exclusive.
        rate_hz: samples a second of the result.
        deadline_s: of the monotonic clock; sound after it counts as damaged.

    Returns:
        A `Sound` of exactly `round((end_us - start_us) * rate_hz / 1e6)` samples, or
        of none. Nothing is raised for bad media: the verdict says it.
    """
    nothing = np.zeros(0, np.int16)
    with open_media(source) as container:
        if not container.streams.audio:
            return Sound(NONE, nothing, "The video has no audio track.")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            return Sound(
                BROKEN, nothing, "No decoder knows the codec of the audio track."
            )
        buffer, damage = record(
            container, stream, start_us / 1e6, end_us / 1e6, deadline_s
        )
    if damage and not buffer.runs:
        return Sound(BROKEN, nothing, damage)
    samples = np.zeros(round((end_us - start_us) * rate_hz / 1_000_000), np.int16)
    for run in buffer.runs:
        resampled = _resample(_downmix(run), rate_hz)
        _lay(resampled, samples, round((run.start_s() - buffer.start_s) * rate_hz))
    verdict, message = (BROKEN, damage) if damage else _judge(buffer, samples, rate_hz)
    return Sound(verdict, samples, message)


# --- pydub and libswresample ---------------------------------------------------------


def _segment(pcm: np.ndarray, rate_hz: int) -> AudioSegment:
    """int16 [n, channels] as pydub holds it."""
    return AudioSegment(
        data=pcm.tobytes(), sample_width=2, frame_rate=rate_hz, channels=pcm.shape[1]
    )


def _downmix(run: Run) -> AudioSegment:
    """Return the mean of the channels.

    Beyond two, pydub adds them in a Python loop (1.3 s for 10 s of 20 channels) and
    rounds each one down (-9.5 steps in all), so numpy takes the mean there.
    """
    pcm = run.pcm()
    if run.channels > 2:
        mean = np.rint(pcm.mean(axis=1, dtype=np.float32))
        pcm = mean.astype(np.int16)[:, np.newaxis]
    return _segment(pcm, run.rate_hz).set_channels(1)


def _resample(mono: AudioSegment, rate_hz: int) -> np.ndarray:
    """int16 [n] at another rate; the first sample keeps its time."""
    samples = np.frombuffer(mono.raw_data, np.int16)
    if mono.frame_rate == rate_hz:
        return samples
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
    frame.sample_rate = mono.frame_rate
    resampler = av.AudioResampler("s16", "mono", rate_hz)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    if not pieces:  # A few samples may be too short for the filter.
        return np.zeros(0, np.int16)
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces])


def _lay(source: np.ndarray, target: np.ndarray, at: int) -> None:
    """Copy `source` to `target[at:]`, cutting what is outside."""
    source = source[max(0, -at) :]
    at = max(0, at)
    count = max(0, min(len(source), len(target) - at))
    target[at : at + count] = source[:count]


def _judge(buffer: AudioBuffer, samples: np.ndarray, rate_hz: int) -> tuple[str, str]:
    """Return the verdict on undamaged sound, and the words for it."""
    loudness = _segment(samples[:, np.newaxis], rate_hz).dBFS
    if loudness < SILENT_BELOW_DBFS:
        return SILENT, f"It is silent: {loudness:.0f} dBFS."
    share = max(map(_clipped_share, buffer.runs))
    if share >= CLIPPED_SHARE:
        return CLIPPED, f"{share:.1%} of a channel's samples are at full scale."
    return OK, ""


def _clipped_share(run: Run) -> float:
    """Share of samples at full scale, on the channel that has most of them."""
    pcm = run.pcm()
    if _segment(pcm, run.rate_hz).max < _FULL_SCALE:
        return 0.0
    at_full_scale = (pcm >= _FULL_SCALE) | (pcm <= -_FULL_SCALE)
    return float(at_full_scale.mean(axis=0).max())
