"""Opening a video file: what is in it, where its clock starts, which way is up.

All times of the project count from the container's start, the zero of every player
and of VideoCC's timestamps; `pts` rarely starts there. Nothing here decodes.
"""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import av.container
import av.stream
import av.video.frame
import av.video.stream
import numpy as np

from clipseed.errors import InputError

_OPEN_TIMEOUT_S = 30.0
_READ_TIMEOUT_S = 60.0
# What the demuxer cannot know it guesses; a stream that never says its rate is rare.
_DEFAULT_RATE = Fraction(25)
# Pixels more oblong than this are a broken header.
_MOST_OBLONG = 8
# FFmpeg draws text files as a terminal would.
_NOT_VIDEO = frozenset({"tty"})


class Probe(NamedTuple):
    """What a container's header says, checked against its packets where it is silent.

    Attributes:
        duration_us: presentation time at which the video stream ends.
        rate: frames a second, as the container tells it.
        has_audio: whether there is an audio track.
        width_px: of the coded picture, before rotation.
        height_px: likewise.
        codec: FFmpeg's name of the video codec.
    """

    duration_us: int
    rate: float
    has_audio: bool
    width_px: int
    height_px: int
    codec: str


@contextlib.contextmanager
def open_video(path: str) -> Iterator[av.container.InputContainer]:
    """Opens a local file with moving pictures for reading.

    Raises:
        InputError: as `open_media`, or `no_video_stream`.
    """
    with open_media(path) as container:
        video_stream(container)
        yield container


@contextlib.contextmanager
def open_media(path: str) -> Iterator[av.container.InputContainer]:
    """Opens a local file for reading; metadata that is not UTF-8 is tolerated.

    Raises:
        InputError: `empty_file`, `not_a_video` or `unreadable`.
    """
    try:
        if os.path.getsize(path) == 0:
            raise InputError("empty_file", "The file has no bytes; fetch it again.")
        container = av.open(
            path,
            metadata_errors="ignore",
            timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S),
            # A playlist must not make FFmpeg open what it names on the network.
            options={"protocol_whitelist": "file"},
        )
    except (av.error.InvalidDataError, ValueError, EOFError) as error:
        raise InputError(
            "not_a_video", f"FFmpeg finds no video in it: {error}"
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise InputError("unreadable", f"It cannot be read: {error}") from error
    with container:
        if container.format.name in _NOT_VIDEO:
            raise InputError("not_a_video", "It is a text file.")
        yield container


def video_stream(
    container: av.container.InputContainer,
) -> av.video.stream.VideoStream:
    """The first video track that is not the cover picture of a song.

    Raises:
        InputError: `no_video_stream`.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    tracks = ", ".join(s.type for s in container.streams) or "none"
    raise InputError("no_video_stream", f"No moving pictures; its tracks: {tracks}.")


def origin_s(container: av.container.InputContainer) -> Fraction:
    """The container's start in seconds: what players show as 0:00."""
    return Fraction(container.start_time or 0, av.time_base)


def frame_rate(stream: av.video.stream.VideoStream) -> Fraction:
    """Frames a second as the container tells it, or 25 where it does not.

    1000 and more is the clock of a file that knows no rate, not a camera's.
    """
    rate = stream.average_rate or stream.guessed_rate or _DEFAULT_RATE
    return Fraction(rate) if 0 < rate < 1000 else _DEFAULT_RATE


def probe(path: str) -> Probe:
    """Reads what `path` holds without decoding a frame.

    The duration comes from the header; where that is silent (a live WebM), from the
    time stamps of the packets.

    Raises:
        InputError: what `open_video` raises, or `no_frames` for a track without
        packets.
    """
    with open_video(path) as container:
        stream = video_stream(container)
        duration_us = header_end_us(container, stream) or container.duration
        if not duration_us:
            duration_us = _packet_duration_us(container, stream)
        return Probe(
            duration_us,
            float(frame_rate(stream)),
            bool(container.streams.audio),
            stream.codec_context.width,
            stream.codec_context.height,
            stream.codec_context.name,
        )


def header_end_us(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> int | None:
    """When the video track ends as the header says; None where it does not say."""
    if stream.duration and stream.time_base:
        start = (stream.start_time or 0) * stream.time_base - origin_s(container)
        return round((start + stream.duration * stream.time_base) * 1_000_000)
    # Matroska's tag, "00:01:02.345000000".
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        total_s = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    except ValueError:
        return None
    return round((total_s - origin_s(container)) * 1_000_000)


def _packet_duration_us(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> int:
    period = 1 / frame_rate(stream)
    last, count = Fraction(0), 0
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            count += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                last = max(last, stamp * packet.time_base - origin_s(container))
    except av.error.FFmpegError:
        pass  # What lies before the damage has a length; decoding records the break.
    if not count:
        raise InputError("no_frames", "The video track holds no packets.")
    return round(max(last + period, count * period if not last else 0) * 1_000_000)


def pixel_aspect(stream: av.video.stream.VideoStream) -> Fraction:
    """Width of a pixel by its height; 1 where the stream tells none or nonsense."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if 1 / _MOST_OBLONG <= aspect <= _MOST_OBLONG else Fraction(1)


def display_size(
    frame: av.video.frame.VideoFrame, pixel_aspect: Fraction = Fraction(1)
) -> tuple[int, int]:
    """`(width_px, height_px)` of the picture as it is watched, upright.

    Oblong pixels (`pixel_aspect` of the stream) stretch its width, as in players.
    """
    width_px = max(1, round(frame.width * pixel_aspect))
    if _quarter_turns(frame) % 2:
        return frame.height, width_px
    return width_px, frame.height


def to_rgb(
    frame: av.video.frame.VideoFrame, width_px: int, height_px: int
) -> np.ndarray:
    """The upright picture, bilinearly resized: uint8 `[height_px, width_px, 3]`."""
    turns = _quarter_turns(frame)
    width, height = (height_px, width_px) if turns % 2 else (width_px, height_px)
    # One thread: starting more for each picture costs twice what the work does.
    resized = frame.reformat(
        width, height, "rgb24", interpolation="BILINEAR", threads=1
    )
    return np.ascontiguousarray(np.rot90(resized.to_ndarray(), turns))


def _quarter_turns(frame: av.video.frame.VideoFrame) -> int:
    """Counterclockwise turns by 90° that stand a frame upright."""
    return round(frame.rotation / 90) % 4
