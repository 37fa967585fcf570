"""Bad videos and images, good ones beside them, and a seeds table over all."""

import csv
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from tests.support.made_media import (
    corrupt_from,
    encoded,
    film,
    overwrite,
    packet_places,
    png_bomb,
    still,
    tone,
    truncate,
    write_sound,
    write_video,
)

TRICKY = 'she said "hi",\tthen\nleft\r\nnothing — ünïcödé, \'quoted\' "" '
KEYINT = {"x264-params": "keyint=10:scenecut=0"}

Make = Callable[[Path, int], object]


# --- videos: `make(path, scene)` writes a file that shows the scene -------------------


def plain(path: Path, scene: int, **options: Any) -> None:
    write_video(path, film(scene, 3), **options)


def truncated(path: Path, scene: int) -> None:
    plain(path, scene)
    truncate(path, 0.6)


def corrupt(path: Path, scene: int) -> None:
    """Write a video with the scene in second 1 alone, and noise from second 2 on."""
    parts = [film(scene + 100, 1), film(scene, 1), film(scene + 200, 3)]
    write_video(path, np.concatenate(parts), options=KEYINT)
    corrupt_from(path, 2.0)


def live(path: Path, scene: int) -> None:
    plain(path, scene, codec="libvpx", container_options={"live": "1"})


def title_not_utf8(path: Path, scene: int) -> None:
    plain(path, scene, title="name in latin letters")
    data = path.read_bytes()
    assert data.count(b"latin") == 1
    path.write_bytes(data.replace(b"latin", b"\xe4\xff\xfe\x80\xf6"))


def odd_size(path: Path, scene: int) -> None:
    frames = film(scene, 3, width=161, height=121)
    write_video(path, frames, pix_fmt="yuv444p")


def changing_size(path: Path, scene: int) -> None:
    """Write a video that shows the scene after its size has changed."""
    before = write_video(path.with_suffix(".0.h264"), film(scene + 100, 2))
    wide = film(scene, 2, width=256, height=144)
    after = write_video(path.with_suffix(".1.h264"), wide)
    path.write_bytes(before.read_bytes() + after.read_bytes())


def broken_sound(path: Path, scene: int) -> None:
    plain(path, scene, sound=tone(3))
    places = [(at, size) for _, at, size in packet_places(path, "audio")]
    overwrite(path, places[len(places) // 2 :])


VIDEOS: dict[str, tuple[Make, str | None, bool]] = {
    # name: how it is made, the reason to be given for it, whether it yields a pair
    "good_a.mp4": (lambda p, s: plain(p, s, sound=tone(3)), None, True),
    "good_b.webm": (lambda p, s: plain(p, s, codec="libvpx"), None, True),
    "truncated_index_lost.mp4": (truncated, "not_a_video", False),
    "truncated.mkv": (truncated, "broken_video", True),
    "corrupt_from_2.mp4": (corrupt, "broken_video", True),
    "empty.mp4": (lambda p, _: p.touch(), "empty_file", False),
    "pipe.mp4": (lambda p, _: os.mkfifo(p), "unreadable", False),
    "missing.mp4": (lambda *_: None, "not_found", False),
    "audio_only.mp4": (lambda p, _: write_sound(p, tone(2)), "no_video_stream", False),
    "text.mp4": (lambda p, _: p.write_text("no video " * 99), "not_a_video", False),
    "no_duration.webm": (live, None, True),
    "title_not_utf8.mp4": (title_not_utf8, None, True),
    "odd_size.mkv": (odd_size, None, True),
    "changing_size.h264": (changing_size, None, True),
    "no_timestamps.h264": (plain, None, True),
    "channels_20.mkv": (lambda p, s: plain(p, s, sound=tone(3, 20)), None, True),
    "broken_sound.mp4": (broken_sound, "broken_sound", True),
}
SCENES = {name: number for number, name in enumerate(VIDEOS, start=1)}
GOOD = SCENES["good_a.mp4"]


# --- seeds ---------------------------------------------------------------------------


def animated() -> bytes:
    first, second = Image.fromarray(still(GOOD)), Image.fromarray(still(90))
    return encoded(first, "GIF", save_all=True, append_images=[second])


def transparent() -> bytes:
    alpha = np.full((240, 320, 1), 255, np.uint8)
    alpha[:40, :40] = 0
    return encoded(Image.fromarray(np.dstack([still(GOOD), alpha])), "PNG")


def gray_16_bit() -> bytes:
    gray = np.asarray(Image.fromarray(still(GOOD)).convert("L"))
    return encoded(Image.fromarray(gray.astype(np.uint16) * 257), "PNG")


def half_a_jpeg() -> bytes:
    whole = encoded(Image.fromarray(still(GOOD)), "JPEG")
    return whole[: len(whole) // 2]


def cmyk() -> bytes:
    return encoded(Image.fromarray(still(GOOD)).convert("CMYK"), "JPEG")


IMAGES: dict[str, tuple[Callable[[], bytes] | None, str | None]] = {
    # name: what makes its bytes, the reason to be given for it; all are of the first
    # good video
    "truncated.jpg": (half_a_jpeg, "corrupt_image"),
    "text.jpg": (lambda: b"<html>not found</html>", "not_an_image"),
    "empty.jpg": (bytes, "not_an_image"),
    "bomb.png": (png_bomb, "too_many_pixels"),
    "missing.jpg": (None, "not_found"),
    "cmyk.jpg": (cmyk, None),
    "gray_16_bit.png": (gray_16_bit, None),
    "animated.gif": (animated, None),
    "transparent.png": (transparent, None),
}


def write_corpus(root: Path) -> None:
    """`videos.csv` and `seeds/*.csv`, with all that is above beside it."""
    (root / "seeds").mkdir()
    for name, (make, _, _) in VIDEOS.items():
        make(root / name, SCENES[name])
    rows = ["video,title", *(f"{name},x" for name in VIDEOS), ",a row without a path"]
    (root / "videos.csv").write_text("\n".join(rows) + "\n")
    seeds = [["image", "caption"]]
    for name, scene in SCENES.items():
        picture = f"{name}.png"
        Image.fromarray(still(scene)).save(root / "seeds" / picture)
        seeds.append([picture, f"scene of {name}"])
    for name, (make_bytes, _) in IMAGES.items():
        if make_bytes is not None:
            (root / "seeds" / name).write_bytes(make_bytes())
        seeds.append([name, f"image {name}"])
    Image.fromarray(still(SCENES["corrupt_from_2.mp4"] + 200)).save(
        root / "seeds" / "lost.png"
    )
    seeds += [["lost.png", "what came after the damage"]]
    seeds += [["good_b.webm.png", TRICKY], ["good_a.mp4.png", " \t "], ["", "no image"]]
    with (root / "seeds" / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(seeds)
    with (root / "seeds" / "table.csv").open("ab") as binary:
        binary.write(b"good_b.webm.png,caf\xe9 in latin-1\r\n")
        binary.write(b"good_b.webm.png,the last row\r\n")
    (root / "seeds" / "wrong.csv").write_text("picture,words\na.jpg,hello\n")


# --- videos whose decoders hang ---


def write_heavy(path: Path) -> None:
    """Write one group of pictures that takes seconds to decode, and little to make.

    VP8's delta frames hold no time: one of them, written again and again, is a video.
    """
    noise = np.random.default_rng(0).integers(0, 256, (2, 1080, 1920, 3), np.uint8)
    part = write_video(path.with_suffix(".part.webm"), noise, codec="libvpx")
    with av.open(str(part)) as source, av.open(str(path), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        packets = [bytes(p) for p in source.demux(video=0) if p.size]
        for i in range(2000):
            packet = av.Packet(packets[min(i, 1)])
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = i * 40
            packet.is_keyframe = i == 0
            sink.mux(packet)


def write_playlist(path: Path) -> None:
    """Write a live playlist without an end, which names the video beside it."""
    part = write_video(path.with_suffix(".ts"), film(91, 2))
    path.write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"
        f"#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.0,\n{part.name}\n"
    )
