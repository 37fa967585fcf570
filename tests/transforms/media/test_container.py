"""Opening, probing and turning videos, on files made here."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clipseed.errors import InputError
from transforms.media.container import (
    display_size,
    open_video,
    pixel_aspect,
    probe,
    to_rgb,
)
from transforms.media.media_file import MediaFile

ONE, MINUS = 0x10000, -0x10000
# Clockwise turns as ISO 14496-12 writes them: x' = ax + cy, y' = bx + dy.
TURNS = {0: (ONE, 0, 0, ONE), 90: (0, ONE, MINUS, 0),
         180: (MINUS, 0, 0, MINUS), 270: (0, MINUS, ONE, 0)}  # fmt: skip


def quadrants(height: int = 64, width: int = 96) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    return image


def made(path: Path, count: int = 25, aspect: Fraction | None = None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(quadrants(), "rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def turned(path: Path, degrees: int) -> Path:
    """Patch the matrix of an MP4's track header."""
    data = bytearray(made(path).read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = TURNS[degrees]
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


def first_frame(path: Path) -> av.VideoFrame:
    with open_video(str(path)) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("degrees", TURNS)
def test_rotation_stands_the_picture_upright(tmp_path: Path, degrees: int) -> None:
    frame = first_frame(turned(tmp_path / "a.mp4", degrees))
    upright = np.rot90(quadrants(), -degrees // 90)
    height, width = upright.shape[:2]
    assert display_size(frame) == (width, height)
    image = to_rgb(frame, width, height)
    assert image.shape == upright.shape and image.dtype == np.uint8
    assert np.abs(image.astype(int) - upright).mean() < 8
    assert to_rgb(frame, 40, 20).shape == (20, 40, 3)


def test_oblong_pixels_stretch_the_width(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", aspect=Fraction(4, 3))
    with open_video(str(path)) as container:
        aspect = pixel_aspect(container.streams.video[0])
        frame = next(container.decode(video=0))
    assert aspect == Fraction(4, 3)
    assert display_size(frame, aspect) == (128, 64)
    assert display_size(frame) == (96, 64)


def test_probe_tells_what_the_header_says(tmp_path: Path) -> None:
    found = probe(str(made(tmp_path / "a.mp4", 50)))
    assert found == (2_000_000, 25.0, False, 96, 64, "h264")


def test_probe_measures_where_the_header_is_silent(tmp_path: Path) -> None:
    found = probe(str(made(tmp_path / "a.h264", 50)))
    assert found.duration_us == 2_000_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{}\n"
                      "#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{}\n"
                     "#EXT-X-ENDLIST\n"),
        ("concat.mp4", "ffconcat version 1.0\nfile {}\n"),
        ("session.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=video 1 RTP/AVP 96\n"),
        ("manifest.mpd", '<?xml version="1.0"?><MPD><Period><BaseURL>{}</BaseURL>'
                         "</Period></MPD>"),
        ("still%02d.png", "still"),
        ("drawing.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="9" '
                        'height="9"><image href="{}"/></svg>'),
    ],
)  # fmt: skip
def test_a_file_that_names_others_is_not_read(
    tmp_path: Path, name: str, text: str
) -> None:
    made(tmp_path / "beside.ts")
    Image.fromarray(quadrants()).save(tmp_path / "still01.png")
    (tmp_path / name).write_text(text.format("beside.ts"))
    with pytest.raises(InputError) as caught:
        probe(str(tmp_path / name))
    assert caught.value.reason == "not_a_video"


def test_no_name_is_opened_while_a_file_is_read(tmp_path: Path) -> None:
    """FFmpeg itself has no name to open, and is refused any that it asks for."""
    path = made(tmp_path / "a.mp4")
    with MediaFile.open(str(path)) as file:
        path.unlink()
        with open_video(file) as container:
            assert len(list(container.decode(video=0))) == 25
            assert container.name == "input.mp4"
            with pytest.raises(InputError) as caught:
                container.io_open("file:/etc/passwd", 1, {})
    assert caught.value.reason == "names_other_files"


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        silence = np.zeros((1, 16000), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.mp4", b"", "empty_file"),
        ("zeros.mp4", bytes(10_000), "not_a_video"),
        ("text.mp4", b"hello\n" * 99, "not_a_video"),
        ("text.txt", b"hello\n" * 99, "not_a_video"),
        ("headless.mp4", b"\0\0\0\x18ftypisom" + bytes(12), "not_a_video"),
    ],
)
def test_what_is_no_video(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        probe(str(tmp_path / name))
    assert caught.value.reason == reason


def test_audio_alone_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        probe(str(audio_only(tmp_path / "a.m4a")))
    assert caught.value.reason == "no_video_stream"
    assert "audio" in caught.value.message
    with pytest.raises(InputError) as caught:
        probe(str(tmp_path / "missing.mp4"))
    assert caught.value.reason == "unreadable"
