"""Decoded sound around an interval of video, every piece in its place in time."""

import time
from fractions import Fraction

import av
import av.audio.frame
import av.audio.stream
import av.container
import numpy as np

from transforms.media.container import origin_s, packets

# AAC and Opus need some frames before they sound right after a seek (RFC 7845: 80 ms).
_PREROLL_S = 1.0
# Kept on both sides of the interval, so that the resampling filter sees what is there.
_MARGIN_S = 0.1
# WebM stamps are whole milliseconds; edit lists shift the first by a frame (23 ms).
_JITTER_S = 0.05
# A track that ends this much before its header says was cut short.
_SHORTFALL_S = 0.5


class Run:
    """Sound without a gap, of one rate and one number of channels.

    Attributes:
        rate_hz: samples a second.
        channels: of the track.
        count: samples of a channel.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.rate_hz = rate_hz
        self.channels = channels
        self.count = 0
        self._pieces: list[np.ndarray] = []
        self._starts_s: list[float] = []

    def add(self, time_s: float, pcm: np.ndarray) -> None:
        """Append int16 [n, channels] that is stamped with a time."""
        self._starts_s.append(time_s - self.count / self.rate_hz)
        self._pieces.append(pcm)
        self.count += len(pcm)

    def end_s(self) -> float:
        """Return where the next frame is due."""
        return self._starts_s[0] + self.count / self.rate_hz

    def start_s(self) -> float:
        """Return when it starts: the median over all stamps, as any one may be off."""
        return sorted(self._starts_s)[len(self._starts_s) // 2]

    def pcm(self) -> np.ndarray:
        """int16 [n, channels]."""
        return np.concatenate(self._pieces)


class AudioBuffer:
    """Decoded frames of one interval, in their places.

    Attributes:
        runs: what was heard around the interval.
        first_s: time of the first frame offered; None before it, or without a stamp.
        end_s: up to where frames were offered.
    """

    def __init__(self, start_s: float, end_s: float) -> None:
        self.start_s = start_s
        self.stop_s = end_s + _MARGIN_S
        self.runs: list[Run] = []
        self.first_s: float | None = None
        self.end_s: float | None = None

    def add(self, time_s: float | None, rate_hz: int, pcm: np.ndarray) -> None:
        """Take a frame, int16 [n, channels]; one without a stamp follows the last."""
        if self.end_s is None:
            self.first_s = time_s
        if time_s is None:
            time_s = self.end_s or 0.0
        self.end_s = time_s + len(pcm) / rate_hz
        if self.end_s <= self.start_s - _MARGIN_S or time_s >= self.stop_s:
            return
        run = self.runs[-1] if self.runs else None
        if (
            run is None
            or (run.rate_hz, run.channels) != (rate_hz, pcm.shape[1])
            or abs(time_s - run.end_s()) >= _JITTER_S
        ):
            run = Run(rate_hz, pcm.shape[1])
            self.runs.append(run)
        run.add(time_s, pcm)


def record(
    container: av.container.InputContainer,
    stream: av.audio.stream.AudioStream,
    start_s: float,
    end_s: float,
    deadline_s: float = float("inf"),
) -> tuple[AudioBuffer, str]:
    """Decode around an interval; from the front where a seek lands beyond its start.

    Returns:
        what was heard, and what is broken, in words ("" when nothing is).
    """
    for from_s in (start_s - _PREROLL_S, 0.0):
        buffer = AudioBuffer(start_s, end_s)
        try:
            _seek(container, stream, from_s)
        except av.error.FFmpegError as error:
            damage = f"The file cannot be sought: {error}."
            continue
        damage = _play(container, stream, buffer, deadline_s)
        is_late = buffer.first_s is None or buffer.first_s > start_s
        if from_s <= 0 or not is_late:
            break
    return buffer, damage


def _seek(
    container: av.container.InputContainer,
    stream: av.audio.stream.AudioStream,
    time_s: float,
) -> None:
    if time_s > 0:
        time_base = Fraction(stream.time_base or Fraction(1, av.time_base))
        stamp = int((Fraction(time_s) + origin_s(container)) / time_base)
        container.seek(stamp, stream=stream)
        return
    front = container.start_time or 0
    try:
        # Well before it: a seek to the start itself skips the packet that primes Opus.
        container.seek(front - av.time_base)
    except av.error.FFmpegError:
        container.seek(front)  # AVI knows nothing before it.


def _play(
    container: av.container.InputContainer,
    stream: av.audio.stream.AudioStream,
    buffer: AudioBuffer,
    deadline_s: float,
) -> str:
    """Decode into the buffer until it is full; return what broke, or ""."""
    coming = packets(container, stream)
    while buffer.end_s is None or buffer.end_s < buffer.stop_s:
        packet = None
        if time.monotonic() > deadline_s:
            return "Decoding the audio track took too long."
        try:
            packet = next(coming, None)
            if packet is None:
                return _shortfall(container, stream, buffer)
            if packet.is_corrupt:
                raise av.error.InvalidDataError(0, "a packet is cut short")
            frames = packet.decode()
        except (av.error.FFmpegError, EOFError) as error:
            at_s = _time_s(container, packet) if packet is not None else None
            if at_s is None:
                at_s = buffer.end_s or 0.0
            if packet is not None and at_s < buffer.start_s - _MARGIN_S:
                continue  # After a seek MP3 may lack the frames it borrows bits from.
            return f"The audio track breaks at {at_s:.2f} s: {error}."
        for frame in frames:
            buffer.add(_time_s(container, frame), frame.sample_rate, _pcm(frame))
    return ""


def _time_s(
    container: av.container.InputContainer, item: av.Packet | av.audio.frame.AudioFrame
) -> float | None:
    if item.pts is None or item.time_base is None:
        return None
    return float(item.pts * item.time_base - origin_s(container))


def _shortfall(
    container: av.container.InputContainer,
    stream: av.audio.stream.AudioStream,
    buffer: AudioBuffer,
) -> str:
    if not stream.duration or not stream.time_base:
        return ""
    stamp = (stream.start_time or 0) + stream.duration
    promised_s = float(stamp * stream.time_base - origin_s(container))
    end_s = buffer.end_s or 0.0
    if end_s >= min(promised_s, buffer.stop_s - _MARGIN_S) - _SHORTFALL_S:
        return ""
    return (
        f"The audio track ends at {end_s:.2f} s, its header says {promised_s:.2f} s; "
        "the file may be cut short."
    )


def _pcm(frame: av.audio.frame.AudioFrame) -> np.ndarray:
    """Return samples of any format as int16 [n, channels], saturated at full scale."""
    if frame.format.name in ("s64", "s64p"):  # which PyAV has no array for
        frame = av.AudioResampler("dbl").resample(frame)[0]
    data: np.ndarray = frame.to_ndarray()
    planar = data.T if frame.format.is_planar else data
    data = planar.reshape(frame.samples, frame.layout.nb_channels)
    if data.dtype.kind == "f":
        scaled = np.rint(np.nan_to_num(data) * 32768.0)
        return np.clip(scaled, -32768, 32767).astype(np.int16)
    if data.dtype == np.uint8:
        return (data.astype(np.int16) - 128) << 8
    return (data >> (8 * data.itemsize - 16)).astype(np.int16)
