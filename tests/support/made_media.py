"""Media made for tests: scenes that an embedder can tell apart, and ways to break them.

A scene is told by its number. `film` moves slowly through one; `still` is a seed's
picture of it.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

RATE = 25
SOUND_HZ = 16_000


def still(scene: int, width: int = 320, height: int = 240) -> np.ndarray:
    """Draw a textured place with shapes: uint8 [height, width, 3], RGB."""
    rng = np.random.default_rng(scene)
    coarse = rng.integers(0, 256, (7, 9, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        half = rng.uniform(0.04, 0.16) * width
        shape = rng.choice(["ellipse", "rectangle", "line"])
        color = tuple(rng.integers(0, 256, 3).tolist())
        box = (x - half, y - half / 2, x + half, y + half / 2)
        getattr(draw, shape)(box, fill=color)
    return np.asarray(image)


def film(scene: int, seconds: float, width: int = 160, height: int = 120) -> np.ndarray:
    """Draw a scene under a slow pan: uint8 [n, height, width, 3] at `RATE`."""
    image = Image.fromarray(still(scene))
    shifts = np.linspace(0, 8, round(seconds * RATE))
    return np.stack(
        [
            np.asarray(image.resize((width, height), box=(s, 0, 312 + s, 240)))
            for s in shifts
        ]
    )


def tone(seconds: float, channels: int = 1) -> np.ndarray:
    """Return a sound of half scale, the same in all channels: int16 [n, channels]."""
    t = np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ
    wave = (16_000 * np.sin(2 * np.pi * (300 + 50 * t) * t)).astype(np.int16)
    return np.repeat(wave[:, None], channels, axis=1)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    codec: str = "libx264",
    sound: np.ndarray | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    title: str = "",
) -> Path:
    """Write frames at `RATE`, with int16 [n, channels] as 16-bit PCM if given."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        if title:
            container.metadata["title"] = title
        pictures = [av.VideoFrame.from_ndarray(f, "rgb24") for f in frames]
        stream: Any = container.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height = pictures[0].width, pictures[0].height
        stream.pix_fmt = pix_fmt
        if sound is not None:
            _mux_sound(container, sound)
        for i, picture in enumerate(pictures):
            picture.pts, picture.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path, sound: np.ndarray) -> Path:
    """Write a file without pictures."""
    with av.open(str(path), "w") as container:
        _mux_sound(container, sound)
    return path


def _mux_sound(container: av.container.OutputContainer, sound: np.ndarray) -> None:
    channels = sound.shape[1]
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
    codec = "aac" if container.format.name == "mp4" else "pcm_s16le"
    stream: Any = container.add_stream(codec, rate=SOUND_HZ, layout=layout)
    for start in range(0, len(sound), 1024):
        piece = sound[start : start + 1024]
        if codec == "aac":
            planar = (piece.T / 32768).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(planar), "fltp", layout
            )
        else:
            frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), "s16", layout)
        frame.sample_rate, frame.pts = SOUND_HZ, start
        frame.time_base = Fraction(1, SOUND_HZ)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def packet_places(path: Path, kind: str) -> list[tuple[float, int, int]]:
    """Return `(time_s, position, size)` of each packet of the first track of a kind."""
    with av.open(str(path)) as container:
        packets: list[Any] = [p for p in container.demux(**{kind: 0}) if p.size]
    return [(float(p.pts * p.time_base), p.pos, p.size) for p in packets]


def overwrite(path: Path, places: Sequence[tuple[int, int]]) -> Path:
    """Fill `(position, size)` places with noise."""
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for position, size in places:
        data[position : position + size] = rng.bytes(size)
    path.write_bytes(data)
    return path


def corrupt_from(path: Path, time_s: float) -> Path:
    """Destroy the pictures of a video from a time on; its index stays whole."""
    places = packet_places(path, "video")
    return overwrite(path, [(at, size) for t, at, size in places if t >= time_s])


def truncate(path: Path, share: float) -> Path:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def png_bomb(side_px: int = 100_000) -> bytes:
    """Return a tiny PNG whose header claims a huge picture."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Encode an image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
