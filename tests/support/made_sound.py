"""Sound made for tests, and how far one sound is from another."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def times(seconds: float, rate: int) -> np.ndarray:
    return np.arange(round(seconds * rate)) / rate


def chirp(t: np.ndarray) -> np.ndarray:
    """Return a tone of half scale that climbs from 200 Hz by 200 Hz per second."""
    return 0.5 * np.sin(2 * np.pi * (200 * t + 100 * t**2))


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """float [n, channels], about -20 dBFS."""
    shape = (round(seconds * rate), channels)
    return np.random.default_rng(0).normal(0, 0.1, shape)


def packets(
    signal: np.ndarray, codec: str, fmt: str, rate: int, layout: str
) -> list[Any]:
    """Encode float [n, channels]; packets of a codec context of their own."""
    context: Any = av.CodecContext.create(codec, "w")
    context.sample_rate, context.format, context.layout = rate, fmt, layout
    context.time_base = Fraction(1, rate)
    context.open()
    made: list[Any] = []
    for frame in frames(signal, fmt, rate, layout, context.frame_size or 1024):
        made += context.encode(frame)
    return made + context.encode(None)


def frames(
    signal: np.ndarray, fmt: str, rate: int, layout: str, size: int
) -> list[Any]:
    made: list[Any] = []
    for start in range(0, len(signal), size):
        piece = signal[start : start + size]
        ints = {"u8": (127, 128, np.uint8), "s16": (32767, 0, np.int16)}
        ints |= {"s16p": ints["s16"], "s32": (2**31 - 1, 0, np.int32)}
        if fmt in ints:
            scale, offset, dtype = ints[fmt]
            data = np.rint(np.clip(piece, -1, 1) * scale + offset).astype(dtype)
        else:
            data = piece.astype(np.float32)
        data = data.T if fmt.endswith("p") else data.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), fmt, layout)
        frame.sample_rate, frame.pts = rate, start
        frame.time_base = Fraction(1, rate)
        made.append(frame)
    return made


def write(
    path: Path,
    signal: np.ndarray,
    rate: int,
    codec: str = "pcm_s16le",
    fmt: str = "s16",
    layout: str = "mono",
    gap: tuple[int, int] = (0, 0),
) -> Path:
    """Write float [n, channels]; after `gap[0]` samples, `gap[1]` are left out."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout, format=fmt)
        size = stream.codec_context.frame_size or 1024
        for frame in frames(signal, fmt, rate, layout, size):
            if gap[0] <= frame.pts < gap[0] + gap[1]:
                continue
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt((samples.astype(float) ** 2).mean()))


def shift_us(samples: np.ndarray, wanted: np.ndarray) -> float:
    """Return the delay of int16 [n], from the slope of the phase up to 2 kHz."""
    count = len(samples)
    cross = np.fft.rfft(samples) * np.conj(np.fft.rfft(wanted))
    lag = int(np.argmax(np.fft.irfft(cross)))
    lag -= count if lag > count // 2 else 0
    hz = np.arange(len(cross)) * 16_000 / count
    rest = cross * np.exp(2j * np.pi * hz * lag / 16_000)
    low = slice(0, 2000 * count // 16_000)
    weight = np.abs(rest[low]) * hz[low]
    slope = (weight * np.angle(rest[low])).sum() / (weight * hz[low]).sum()
    return float(1e6 * (lag / 16_000 - slope / (2 * np.pi)))
