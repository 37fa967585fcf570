"""How many parts a video has: as many as its file holds, whatever its header says."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest

from clipseed.errors import InputError
from models.pretrained.resizing import squeeze
from tests.support.made_media import film, truncate, write_video
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames
from transforms.media.video_parts import video_parts

S = 1_000_000
END = 2**62
SAMPLING = SamplingConfig(1.0, "exact", squeeze(16), 2.0, 60.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("made") / "film.mp4", film(1, 5))


def declare(source: Path, path: Path, seconds: int) -> Path:
    """Write an MP4 whose headers tell another duration."""
    data = bytearray(source.read_bytes())
    for box, scale_at, duration_at in ((b"mvhd", 16, 20), (b"mdhd", 16, 20)):
        at = data.index(box)
        (scale,) = struct.unpack_from(">I", data, at + scale_at)
        value = min(seconds * scale, 2**32 - 2)
        struct.pack_into(">I", data, at + duration_at, value)
    path.write_bytes(data)
    return path


def stretch(source: Path, path: Path, period_s: int) -> Path:
    """Write a video's packets with so much time between them."""
    with av.open(str(source)) as good, av.open(str(path), "w") as slow:
        stream = slow.add_stream_from_template(good.streams.video[0])
        for number, packet in enumerate(p for p in good.demux(video=0) if p.size):
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = number * period_s * 1000
            slow.mux(packet)
    return path


def parts(path: Path, part_s: float, max_s: float | None = None) -> list:
    return list(video_parts(str(path), part_s, max_s))


def test_an_honest_video_has_the_parts_that_it_declares(made: Path) -> None:
    assert parts(made, 120) == [(0, END)]
    assert parts(made, 2) == [(0, 2 * S), (2 * S, 4 * S), (4 * S, END)]
    assert parts(made, 2.5) == [(0, 2.5 * S), (2.5 * S, END)]


@pytest.mark.parametrize("seconds", [60, 100_000])
def test_a_declared_duration_is_not_believed(
    made: Path, tmp_path: Path, seconds: int
) -> None:
    path = declare(made, tmp_path / "long.mp4", seconds)
    assert parts(path, 2) == [(0, 2 * S), (2 * S, 4 * S), (4 * S, END)]
    assert parts(path, 2, 10) == parts(path, 2)


def test_empty_stretches_have_no_parts(made: Path, tmp_path: Path) -> None:
    """125 frames over 35 hours are at most 250 parts, not 62,000."""
    path = stretch(made, tmp_path / "slow.mkv", 1000)
    found = parts(path, 2)
    assert 125 <= len(found) <= 250 and found[-1] == (124_000 * S, END)
    assert found == sorted(found)
    frames = [
        frame.time_us
        for part in found
        for frame in extract_frames(str(path), *part, SAMPLING)
        if isinstance(frame, Frame)
    ]
    assert frames == [number * 1000 * S for number in range(125)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_what_lasts_too_long_is_left_out(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, film(1, 5))
    assert parts(path, 120, 5.1) == [(0, END)]
    for part_s in (2, 120):
        with pytest.raises(InputError, match="5 s long; want less than 5 s") as caught:
            parts(path, part_s, 5)
        assert caught.value.reason == "duration"


def test_a_cut_file_has_the_parts_that_are_left(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", film(1, 9))
    whole = parts(path, 1)
    truncate(path, 0.5)
    cut = parts(path, 1)
    assert len(whole) == 9 and 2 < len(cut) < 8
    assert cut[:-1] == whole[: len(cut) - 1]


def test_without_a_duration_the_packets_are_counted(tmp_path: Path) -> None:
    live = {"live": "1"}
    path = write_video(
        tmp_path / "a.webm", film(1, 5), codec="libvpx", container_options=live
    )
    assert parts(path, 2) == [(0, 2 * S), (2 * S, 4 * S), (4 * S, END)]
    path = write_video(tmp_path / "a.h264", film(1, 5))
    assert parts(path, 2) == [(0, 2 * S), (2 * S, 4 * S), (4 * S, END)]
