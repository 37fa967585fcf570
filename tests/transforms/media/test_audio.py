"""Sound read from files that PyAV writes here, and from real videos."""

import struct
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.made_sound import (
    chirp,
    frames,
    noise,
    packets,
    rms,
    shift_us,
    times,
    write,
)
from tests.support.paths import DATA
from transforms.media.audio import BROKEN, CLIPPED, NONE, OK, SILENT, Sound, read_sound
from transforms.media.container import open_video, origin_s

SECOND_US = 1_000_000
CODECS = {  # codec: (sample format, rate, by how much its lossy copy may differ)
    "pcm_s16le": ("s16", 44_100, 0.01),
    "pcm_f32le": ("flt", 96_000, 0.01),
    "pcm_u8": ("u8", 8_000, 0.10),
    "pcm_s24le": ("s32", 48_000, 0.01),
    "aac": ("fltp", 8_000, 0.15),
    "libmp3lame": ("s16p", 44_100, 0.15),
    "libopus": ("s16", 48_000, 0.15),
}


def read(path: Path, start_s: float, end_s: float) -> Sound:
    return read_sound(str(path), round(start_s * 1e6), round(end_s * 1e6))


def difference(sound: Sound, wanted: np.ndarray) -> float:
    """Root mean square of the difference, relative to what was wanted."""
    assert len(sound.samples) == len(wanted)
    error = sound.samples / 32768 - wanted
    return float(np.sqrt((error**2).mean() / (wanted**2).mean()))


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_keeps_its_sound_in_place(tmp_path: Path, codec: str) -> None:
    fmt, rate, tolerance = CODECS[codec]
    signal = chirp(times(6, rate))[:, np.newaxis]
    path = write(tmp_path / "a.mkv", signal, rate, codec, fmt)
    for start_s, end_s in ((0, 6), (3.2, 5.7)):
        t = start_s + times(end_s - start_s, 16_000)
        sound = read(path, start_s, end_s)
        assert sound.verdict == OK
        late_us = shift_us(sound.samples, chirp(t))
        assert abs(late_us) < 700  # Matroska's stamps are whole milliseconds.
        assert difference(sound, chirp(t - late_us / 1e6)) < tolerance


def test_64_bit_samples(tmp_path: Path) -> None:
    signal = chirp(times(2, 16_000))
    data = (signal * 2.0**63).astype("<i8").tobytes()
    # RIFF: PCM (1), one channel, rate, bytes a second, bytes a sample, bits a sample
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 128_000, 8, 64)
    body = b"WAVE" + fmt + struct.pack("<4sI", b"data", len(data)) + data
    path = tmp_path / "a.wav"
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    assert difference(read(path, 0, 2), signal) < 0.01


def test_sound_is_placed_to_half_a_sample(tmp_path: Path) -> None:
    tone = chirp(times(4, 44_100))[:, np.newaxis]
    path = write(tmp_path / "a.wav", tone, 44_100)
    for start_s in (0, 1, 1.000_31, 2.123_456):
        sound = read(path, start_s, start_s + 1)
        wanted = chirp(start_s + times(1, 16_000))
        assert abs(shift_us(sound.samples, wanted)) <= 32


def test_parts_do_not_depend_on_each_other(tmp_path: Path) -> None:
    # The encoder leaves some bands of noise to the decoder's generator.
    path = write(tmp_path / "a.mp4", noise(12, 48_000), 48_000, "aac", "fltp")
    parts = [(s * SECOND_US, (s + 3) * SECOND_US) for s in (9, 2, 5, 2)]
    sounds = [read_sound(str(path), *part).samples for part in parts]
    for part, samples in zip(parts, sounds, strict=True):
        alone = read(path, part[0] / 1e6, part[1] / 1e6).samples
        np.testing.assert_array_equal(samples, alone)


def test_parts_are_pieces_of_the_whole(tmp_path: Path) -> None:
    signal = chirp(times(12, 48_000))[:, np.newaxis]
    path = write(tmp_path / "a.mp4", signal, 48_000, "aac", "fltp")
    whole = read(path, 0, 12).samples
    for start_s in (9, 2, 5):
        part = read(path, start_s, start_s + 3).samples
        expected = whole[start_s * 16_000 : (start_s + 3) * 16_000]
        assert abs(shift_us(part, expected)) <= 32
        assert rms(part) == pytest.approx(rms(expected), rel=0.01)


def test_length_is_exact_for_odd_parts_and_beyond_the_track(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", noise(2, 44_100), 44_100)
    sound = read(path, 1.234567, 4.0)
    assert len(sound.samples) == round((4.0 - 1.234567) * 16_000)
    assert rms(sound.samples[:12_000]) > 1000
    assert not sound.samples[12_500:].any()


def test_what_lies_above_8_khz_does_not_come_back_as_another_tone(
    tmp_path: Path,
) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 12_000 * times(2, 44_100))[:, np.newaxis]
    sound = read(write(tmp_path / "a.wav", tone, 44_100), 0.5, 1.5)
    assert rms(sound.samples) < 2  # pydub's set_frame_rate: 9,126


def test_channels_are_averaged(tmp_path: Path) -> None:
    t = times(2, 48_000)
    stereo = np.stack([chirp(t), 0 * t], axis=1)
    path = write(tmp_path / "a.mkv", stereo, 48_000, layout="stereo")
    assert difference(read(path, 0, 2), chirp(times(2, 16_000)) / 2) < 0.01


def test_twenty_channels_are_averaged(tmp_path: Path) -> None:
    t = times(2, 48_000)
    signal = np.stack([chirp(t) * (k < 5) for k in range(20)], axis=1)
    path = write(tmp_path / "a.mkv", signal, 48_000, layout="20 channels")
    wanted = chirp(times(2, 16_000)) / 4
    sound = read(path, 0, 2)
    assert difference(sound, wanted) < 0.01
    assert sound.samples.mean() == pytest.approx(32768 * wanted.mean(), abs=1)


def test_a_gap_in_the_stamps_becomes_silence(tmp_path: Path) -> None:
    signal = chirp(times(4, 16_000))[:, np.newaxis]
    path = write(tmp_path / "a.mkv", signal, 16_000, gap=(16_384, 8192))
    expected = signal[:, 0].copy()
    expected[16_384 : 16_384 + 8192] = 0
    assert difference(read(path, 0, 4), expected) < 0.01


def test_a_late_track_starts_late(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    signal = chirp(times(6, 16_000))
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10, width=64, height=48)
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for _ in range(60):
            container.mux(picture.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(picture.encode(None))
        for frame in frames(signal[:, np.newaxis], "s16", 16_000, "mono", 1024):
            if frame.pts >= 48_128:
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    signal[:48_128] = 0
    assert difference(read(path, 0, 6), signal) < 0.01
    assert difference(read(path, 2, 4), signal[32_000:64_000]) < 0.01


def test_rate_and_channels_may_change_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    first = chirp(times(2, 44_100))[:, np.newaxis]
    then = np.repeat(chirp(2 + times(2, 32_000))[:, np.newaxis], 2, axis=1)
    parts = [
        (0, packets(first, "mp2", "s16", 44_100, "mono")),
        (2, packets(then, "mp2", "s16", 32_000, "stereo")),
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp2", rate=44_100, layout="mono")
        for start_s, made in parts:
            for packet in made:
                stamp = Fraction(packet.pts) * packet.time_base + start_s
                packet.time_base = Fraction(1, 90_000)
                packet.pts = packet.dts = round(stamp * 90_000)
                packet.stream = stream
                container.mux(packet)
    sound = read(path, 0, 4)
    expected = chirp(times(4, 16_000))
    for half in (slice(4000, 30_000), slice(34_000, 60_000)):
        part = Sound(OK, sound.samples[half], "")
        assert difference(part, expected[half]) < 0.2


def test_no_track(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10, width=64, height=48)
        container.mux(picture.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(picture.encode(None))
    sound = read(path, 0, 1)
    assert (sound.verdict, len(sound.samples)) == (NONE, 0)


@pytest.mark.parametrize(("amplitude", "verdict"), [(5e-4, SILENT), (5e-3, OK)])
def test_silence_is_below_minus_60_dbfs(
    tmp_path: Path, amplitude: float, verdict: str
) -> None:
    signal = amplitude * chirp(times(2, 16_000))[:, np.newaxis] / 0.5
    assert read(write(tmp_path / "a.wav", signal, 16_000), 0, 2).verdict == verdict


def test_clipping_on_one_channel_is_found(tmp_path: Path) -> None:
    quiet = chirp(times(2, 44_100))
    for loud, verdict in ((3 * quiet, CLIPPED), (1.9 * quiet, OK)):
        signal = np.stack([quiet, loud], axis=1)
        path = write(tmp_path / "a.mkv", signal, 44_100, layout="stereo")
        assert read(path, 0, 2).verdict == verdict


def test_floats_beyond_full_scale_saturate(tmp_path: Path) -> None:
    signal = 4 * chirp(times(2, 16_000))[:, np.newaxis]
    sound = read(write(tmp_path / "a.mkv", signal, 16_000, "pcm_f32le", "flt"), 0, 2)
    assert sound.verdict == CLIPPED
    assert difference(sound, np.clip(signal[:, 0], -1, 1)) < 0.001


def patched(path: Path, places: Sequence[int], data: bytes) -> Path:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place : place + len(data)] = data
    path.write_bytes(content)
    return path


def test_a_codec_that_nobody_knows_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", noise(2, 44_100), 44_100, "aac", "fltp")
    patched(path, [path.read_bytes().index(b"A_AAC")], b"A_XYZ")
    sound = read(path, 0, 2)
    assert (sound.verdict, len(sound.samples)) == (BROKEN, 0)
    assert sound.message


def test_what_came_before_a_break_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", noise(6, 44_100), 44_100, "aac", "fltp")
    with av.open(str(path)) as container:
        places = [packet.pos or 0 for packet in container.demux(audio=0) if packet.size]
    half = len(places) // 2
    patched(path, places[half:-1], b"\xff" * 16)
    sound = read(path, 0, 6)
    assert sound.verdict == BROKEN
    assert "breaks at 3.0" in sound.message
    assert rms(sound.samples[: 16_000 * 2]) > 1000
    assert not sound.samples[round(16_000 * 3.1) :].any()
    assert read(path, 0, 2).verdict == OK
    assert len(read(path, 4, 6).samples) == 0


def test_a_file_cut_short_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    options = {"movflags": "faststart"}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        for frame in frames(noise(6, 44_100), "fltp", 44_100, "mono", 1024):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    sound = read(path, 0, 6)
    assert sound.verdict == BROKEN
    assert rms(sound.samples[:32_000]) > 1000
    assert not sound.samples[64_000:].any()
    assert read(path, 0, 2).verdict == OK


# --- real videos ---------------------------------------------------------------------


def below_7_khz(samples: np.ndarray, rate: int) -> float:
    """Energy of float [n] up to 7 kHz (where no resampler's slope begins), in s."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    return (
        float(spectrum[: round(7000 * len(samples) / rate)].sum() / len(samples)) / rate
    )


def plain_decode(path: Path) -> tuple[np.ndarray, int, float]:
    """Mean of the channels as float [n], their rate, and when they start."""
    with av.open(str(path), metadata_errors="ignore") as container:
        heard: list[Any] = list(container.decode(audio=0))
        start_s = float(heard[0].pts * heard[0].time_base - origin_s(container))
        pieces = []
        for frame in heard:
            data = frame.to_ndarray()
            channels = frame.layout.nb_channels
            if not frame.format.is_planar:
                data = data.reshape(-1, channels).T
            scale = 32768 if data.dtype == np.int16 else 1
            pieces.append(data.mean(axis=0) / scale)
    return np.concatenate(pieces), heard[0].sample_rate, start_s


@pytest.mark.skipif(not DATA.exists(), reason="shared/data is not on this machine")
def test_every_real_video_keeps_its_energy_and_length() -> None:
    verdicts = {}
    for path in sorted((DATA / "videos").iterdir()):
        with open_video(str(path)) as container:
            end_us = container.duration or 5 * SECOND_US
        sound = read_sound(str(path), 0, end_us)
        verdicts[path.name] = sound.verdict
        if sound.verdict == NONE:
            continue
        assert len(sound.samples) == round(end_us * 16_000 / 1e6), path.name
        signal, rate, start_s = plain_decode(path)
        signal = signal[: round((end_us / 1e6 - start_s) * rate)]
        got = below_7_khz(sound.samples / 32768, 16_000)
        assert got == pytest.approx(below_7_khz(signal, rate), rel=0.02), path.name
    assert verdicts["aa_yoga.mp4"] == NONE
    assert verdicts["mdn_flower.webm"] == SILENT
    assert verdicts["vllava_demo22.mp4"] == CLIPPED
    assert verdicts["skv_bbb.mp4"] == OK  # 5.1
    assert BROKEN not in verdicts.values()


def test_sound_ends_at_its_deadline(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", noise(2, 48_000), 48_000, "aac", "fltp")
    sound = read_sound(str(path), 0, SECOND_US, deadline_s=time.monotonic() - 1)
    assert (sound.verdict, len(sound.samples)) == (BROKEN, 0)
    assert "took too long" in sound.message
