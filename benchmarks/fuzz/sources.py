"""Small good videos, sounds and images of many formats, to be damaged."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from PIL import Image

_RATE = 10
_FRAMES = 25
_SOUND_HZ = 16_000


class Source(NamedTuple):
    """A good file."""

    name: str
    data: bytes


# name: video codec, its pixel format, sound codec
_VIDEOS = {
    "h264.mp4": ("libx264", "yuv420p", "aac"),
    "h264.mov": ("libx264", "yuv444p", "pcm_s16le"),
    "hevc.mp4": ("libx265", "yuv420p", None),
    "mpeg4.3gp": ("mpeg4", "yuv420p", "aac"),
    "vp8.webm": ("libvpx", "yuv420p", "libopus"),
    "vp9.mkv": ("libvpx-vp9", "yuv420p", "flac"),
    "h264.mkv": ("libx264", "yuv420p", "pcm_s16le"),
    "mjpeg.avi": ("mjpeg", "yuvj420p", "pcm_s16le"),
    "flv1.flv": ("flv", "yuv420p", "libmp3lame"),
    "h264.ts": ("libx264", "yuv420p", "aac"),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", "mp2"),
    "wmv.wmv": ("wmv2", "yuv420p", "wmav2"),
    "h264.h264": ("libx264", "yuv420p", None),
    "pal.gif": ("gif", "rgb8", None),
}
_IMAGES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def make_videos(folder: Path) -> list[Source]:
    """Make a video of each format that this build of FFmpeg can write."""
    made = []
    for name, codecs in _VIDEOS.items():
        path = folder / name
        try:
            _write(path, *codecs)
        except (av.error.FFmpegError, ValueError):  # An encoder that is not built in.
            continue
        made.append(Source(name, path.read_bytes()))
    return made


def make_images() -> list[Source]:
    """Make an image of each format that seeds come in."""
    image = Image.fromarray(_picture(7, 96, 64))
    made = []
    for kind in _IMAGES:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        made.append(Source(f"image.{kind.lower()}", buffer.getvalue()))
    return made


def write_film(path: Path, scene: int) -> bytes:
    """Write a good video of a scene, with sound; return a seed of it, as a PNG."""
    rng = np.random.default_rng(scene)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    still = coarse.resize((160, 120), Image.Resampling.BICUBIC)
    frames = [
        np.asarray(still.resize((96, 72), box=(s / 9, 0, 150 + s / 9, 120)))
        for s in range(4 * _RATE)
    ]
    _write(path, "libx264", "yuv420p", "aac", frames)
    buffer = io.BytesIO()
    still.save(buffer, "PNG")
    return buffer.getvalue()


def _picture(number: int, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    channels = ((x * 3 + number * 9), (y * 4 - number * 5), (x * y // 16 + number))
    return np.stack([channel % 256 for channel in channels], axis=-1).astype(np.uint8)


def _write(
    path: Path,
    codec: str,
    pix_fmt: str,
    sound: str | None,
    frames: Sequence[np.ndarray] | None = None,
) -> None:
    frames = frames or [_picture(number, 96, 64) for number in range(_FRAMES)]
    with av.open(str(path), "w") as container:
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        video: Any = container.add_stream(codec, rate=_RATE, options=quiet)
        video.height, video.width, _ = frames[0].shape
        video.pix_fmt = pix_fmt
        video.gop_size = 8
        audio: Any = None
        if sound is not None:
            rate = 48_000 if sound == "libopus" else 44_100
            audio = container.add_stream(sound, rate=rate, layout="mono")
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            container.mux(video.encode(frame.reformat(format=pix_fmt)))
        container.mux(video.encode(None))
        if audio is not None:
            _write_sound(container, audio, len(frames))


def _write_sound(
    container: av.container.OutputContainer, stream: Any, frames: int
) -> None:
    wave = 9000 * np.sin(np.arange(_SOUND_HZ * frames // _RATE) / 9)
    fifo = av.AudioFifo()
    resampler = av.AudioResampler(stream.format, "mono", stream.rate)
    frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[np.newaxis], "s16", "mono")
    frame.sample_rate, frame.pts = _SOUND_HZ, 0
    frame.time_base = Fraction(1, _SOUND_HZ)
    for piece in resampler.resample(frame):
        fifo.write(piece)
    size = stream.codec_context.frame_size or 1024
    while (block := fifo.read(size, partial=True)) is not None:
        container.mux(stream.encode(block))
    container.mux(stream.encode(None))
