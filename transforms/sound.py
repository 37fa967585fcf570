"""The sound of a span of video: 16 kHz mono, and a verdict on it.

    with open_video("concert.mp4") as container:
        sound = read_sound(container, 20_000_000, 30_000_000)
    sound.verdict, sound.samples.shape            # "ok", (160000,)

PyAV decodes, pydub downmixes and judges raw PCM (so no ffmpeg binary is called), and
libswresample changes the rate. pydub's own `set_frame_rate` interpolates linearly with
no low-pass filter before it: from 44.1 to 16 kHz a 12 kHz tone comes back as a false
4 kHz tone only 2 dB weaker (libswresample: 95 dB weaker), and a 6 kHz tone is wrong by
-24 dB (-86 dB).
"""

from fractions import Fraction
from typing import NamedTuple

import av
import av.audio.frame
import av.audio.stream
import av.container
import numpy as np
from pydub import AudioSegment

from transforms.media import origin_s

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

# AAC and Opus need some frames before they sound right after a seek (RFC 7845: 80 ms).
_PREROLL_S = 1.0
# Kept on both sides of the span, so that the resampling filter sees what lies there.
_MARGIN_S = 0.1
# WebM stamps are whole milliseconds, edit lists shift the first one by a frame (23 ms).
_JITTER_S = 0.05
# A track that ends this much before its header says was cut short.
_SHORTFALL_S = 0.5
_FULL_SCALE = 32767
_READ_TIMEOUT_S = 60.0


class Sound(NamedTuple):
    """What was heard in a span.

    Attributes:
        verdict: `none` (no audio track), `broken` (it cannot be decoded, or breaks in
            the span: what came before is kept, silence stands for the rest), `silent`,
            `clipped` or `ok`.
        samples: int16 [n], mono; empty where nothing could be decoded.
        message: why, in words; empty when `ok`.
    """

    verdict: str
    samples: np.ndarray
    message: str


def read_sound(
    container: av.container.InputContainer,
    start_us: int,
    end_us: int,
    rate_hz: int = 16_000,
) -> Sound:
    """Reads the sound of `[start_us, end_us)`; where the track has none, zeros.

    The file is opened a second time (2 ms; the first opening keeps its place): AAC
    decoders fill bands with noise from a generator that only a new decoder starts
    anew, and a span's bytes must not depend on the spans read before it.

    Args:
        container: an open video, a local file.
        start_us: from the container's start.
        end_us: likewise.
        rate_hz: samples a second of the result.

    Returns:
        A `Sound` of exactly `round((end_us - start_us) * rate_hz / 1e6)` samples, or
        of none. Nothing is raised for bad media: the verdict says it.
    """
    nothing = np.zeros(0, np.int16)
    if not container.streams.audio:
        return Sound(NONE, nothing, "The video has no audio track.")
    if container.streams.audio[0].codec_context is None:
        return Sound(BROKEN, nothing, "No decoder knows the codec of the audio track.")
    with av.open(
        container.name, metadata_errors="ignore", timeout=_READ_TIMEOUT_S
    ) as own:
        tape, damage = _record(own, own.streams.audio[0], start_us / 1e6, end_us / 1e6)
    if damage and not tape.runs:
        return Sound(BROKEN, nothing, damage)
    samples = np.zeros(round((end_us - start_us) * rate_hz / 1_000_000), np.int16)
    for run in tape.runs:
        resampled = _resample(_downmix(run), rate_hz)
        _lay(resampled, samples, round((run.start_s() - tape.start_s) * rate_hz))
    verdict, message = (BROKEN, damage) if damage else _judge(tape, samples, rate_hz)
    return Sound(verdict, samples, message)


# --- decoding ------------------------------------------------------------------------


class _Run:
    """Sound without a gap, of one rate and one number of channels."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.rate_hz = rate_hz
        self.channels = channels
        self.count = 0
        self._pieces: list[np.ndarray] = []
        self._starts_s: list[float] = []

    def add(self, time_s: float, pcm: np.ndarray) -> None:
        self._starts_s.append(time_s - self.count / self.rate_hz)
        self._pieces.append(pcm)
        self.count += len(pcm)

    def end_s(self) -> float:
        """Where the next frame is due."""
        return self._starts_s[0] + self.count / self.rate_hz

    def start_s(self) -> float:
        """When it starts: the median over all stamps, as any one may be off."""
        return sorted(self._starts_s)[len(self._starts_s) // 2]

    def pcm(self) -> np.ndarray:
        """int16 [n, channels]."""
        return np.concatenate(self._pieces)


class _Tape:
    """Decoded frames of one span, in their places.

    Attributes:
        runs: what was heard around the span.
        first_s: time of the first frame offered; None before it, or without a stamp.
        end_s: up to where frames were offered.
    """

    def __init__(self, start_s: float, end_s: float) -> None:
        self.start_s = start_s
        self.stop_s = end_s + _MARGIN_S
        self.runs: list[_Run] = []
        self.first_s: float | None = None
        self.end_s: float | None = None

    def add(self, time_s: float | None, rate_hz: int, pcm: np.ndarray) -> None:
        """Takes a frame, int16 [n, channels]; one without a stamp follows the last."""
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
            run = _Run(rate_hz, pcm.shape[1])
            self.runs.append(run)
        run.add(time_s, pcm)


def _record(
    container: av.container.InputContainer,
    stream: av.audio.stream.AudioStream,
    start_s: float,
    end_s: float,
) -> tuple[_Tape, str]:
    """Decodes around a span; from the front where a seek lands beyond its start."""
    for from_s in (start_s - _PREROLL_S, 0.0):
        tape = _Tape(start_s, end_s)
        try:
            _seek(container, stream, from_s)
        except av.error.FFmpegError as error:
            damage = f"The file cannot be sought: {error}."
            continue
        damage = _play(container, stream, tape)
        is_late = tape.first_s is None or tape.first_s > start_s
        if from_s <= 0 or not is_late:
            break
    return tape, damage


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
    tape: _Tape,
) -> str:
    """Decodes onto the tape until it is full; returns what broke, or ""."""
    packets = container.demux(stream)
    while tape.end_s is None or tape.end_s < tape.stop_s:
        packet = None
        try:
            packet = next(packets, None)
            if packet is None:
                return _shortfall(container, stream, tape)
            if packet.is_corrupt:
                raise av.error.InvalidDataError(0, "a packet is cut short")
            frames = packet.decode()
        except (av.error.FFmpegError, EOFError) as error:
            at_s = _time_s(container, packet) if packet is not None else None
            if at_s is None:
                at_s = tape.end_s or 0.0
            if packet is not None and at_s < tape.start_s - _MARGIN_S:
                continue  # After a seek MP3 may lack the frames it borrows bits from.
            return f"The audio track breaks at {at_s:.2f} s: {error}."
        for frame in frames:
            tape.add(_time_s(container, frame), frame.sample_rate, _pcm(frame))
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
    tape: _Tape,
) -> str:
    if not stream.duration or not stream.time_base:
        return ""
    stamp = (stream.start_time or 0) + stream.duration
    promised_s = float(stamp * stream.time_base - origin_s(container))
    end_s = tape.end_s or 0.0
    if end_s >= min(promised_s, tape.stop_s - _MARGIN_S) - _SHORTFALL_S:
        return ""
    return (
        f"The audio track ends at {end_s:.2f} s, its header says {promised_s:.2f} s; "
        "the file may be cut short."
    )


def _pcm(frame: av.audio.frame.AudioFrame) -> np.ndarray:
    """Samples of any format as int16 [n, channels]; beyond full scale they saturate."""
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


# --- pydub and libswresample ---------------------------------------------------------


def _segment(pcm: np.ndarray, rate_hz: int) -> AudioSegment:
    """int16 [n, channels] as pydub holds it."""
    return AudioSegment(
        data=pcm.tobytes(), sample_width=2, frame_rate=rate_hz, channels=pcm.shape[1]
    )


def _downmix(run: _Run) -> AudioSegment:
    """The mean of the channels.

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
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces])


def _lay(source: np.ndarray, target: np.ndarray, at: int) -> None:
    """Copies `source` to `target[at:]`, cutting what lies outside."""
    source = source[max(0, -at) :]
    at = max(0, at)
    count = max(0, min(len(source), len(target) - at))
    target[at : at + count] = source[:count]


def _judge(tape: _Tape, samples: np.ndarray, rate_hz: int) -> tuple[str, str]:
    """The verdict on undamaged sound, and the words for it."""
    loudness = _segment(samples[:, np.newaxis], rate_hz).dBFS
    if loudness < SILENT_BELOW_DBFS:
        return SILENT, f"It is silent: {loudness:.0f} dBFS."
    share = max(map(_clipped_share, tape.runs))
    if share >= CLIPPED_SHARE:
        return CLIPPED, f"{share:.1%} of a channel's samples are at full scale."
    return OK, ""


def _clipped_share(run: _Run) -> float:
    """Share of samples at full scale, on the channel that has most of them."""
    pcm = run.pcm()
    if _segment(pcm, run.rate_hz).max < _FULL_SCALE:
        return 0.0
    at_full_scale = (pcm >= _FULL_SCALE) | (pcm <= -_FULL_SCALE)
    return float(at_full_scale.mean(axis=0).max())
