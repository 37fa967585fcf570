"""Opening a video file: what is in it, where its clock starts, which way is up.

All times of the project count from the container's start, the zero of every player
and of VideoCC's timestamps; `pts` rarely starts there. Nothing here decodes.
"""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple, NoReturn, TypeVar

import av
import av.audio.stream
import av.container
import av.error
import av.stream
import av.video.frame
import av.video.stream
import numpy as np

from clipseed.errors import InputError
from transforms.media.media_file import MediaFile, Source

# FFmpeg's names of the formats that are read, known by their content. Left out on
# purpose: playlists, scripts and image sequences, which name other files; subtitles
# and text; raw data without a header; devices; the formats of old games.
_VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo",
    "flv", "live_flv", "ogg", "asf", "asf_o", "rm", "mxf", "nut", "ivf", "obu", "dv",
    "gif", "wtv", "nsv", "h261", "h263", "h264", "hevc", "m4v", "mjpeg", "vc1", "av1",
    "yuv4mpegpipe",
)  # fmt: skip
_SOUND_FORMATS = (
    "wav", "w64", "aiff", "au", "caf", "mp3", "aac", "flac", "ac3", "eac3", "dts",
    "amr", "wv", "tta", "ape",
)  # fmt: skip
_FORMATS = ",".join(_VIDEO_FORMATS + _SOUND_FORMATS)
# A read from the file passes through Python; a bigger one spares many of them.
_BUFFER_BYTES = 1 << 17
_OPEN_TIMEOUT_S = 30.0
_READ_TIMEOUT_S = 60.0
# What the demuxer cannot know it guesses; a stream that never says its rate is rare.
_DEFAULT_RATE = Fraction(25)
# Pixels more oblong than this are a broken header.
_MOST_OBLONG = 8


_Stream = TypeVar("_Stream", av.video.stream.VideoStream, av.audio.stream.AudioStream)


class Probe(NamedTuple):
    """What a container's header says, checked against its packets where it is silent.

    Attributes:
        duration_us: presentation time at which the video stream ends.
        rate: frames per second, as the container declares.
        has_audio: whether there is an audio track.
        width_px: of the coded picture, before rotation.
        height_px: of the coded picture, before rotation.
        codec: FFmpeg's name of the video codec.
    """

    duration_us: int
    rate: float
    has_audio: bool
    width_px: int
    height_px: int
    codec: str


@contextlib.contextmanager
def open_video(source: Source) -> Iterator[av.container.InputContainer]:
    """Open a local file with moving pictures for reading.

    Raises:
        InputError: as `open_media` and `video_stream`.
    """
    with open_media(source) as container:
        video_stream(container)
        yield container


@contextlib.contextmanager
def open_media(source: Source) -> Iterator[av.container.InputContainer]:
    """Open a local file for reading; metadata that is not UTF-8 is tolerated.

    FFmpeg reads the bytes of this file, and can open no other.

    Raises:
        InputError: `empty_file`, `not_a_video`, `names_other_files` or `unreadable`.
    """
    if isinstance(source, str):
        with MediaFile.open(source) as file, open_media(file) as container:
            yield container
        return
    try:
        opened = av.open(
            source.reader(),
            metadata_errors="ignore",
            timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S),
            options={"format_whitelist": _FORMATS, "protocol_whitelist": ""},
            buffer_size=_BUFFER_BYTES,
            io_open=_refuse_to_open,
        )
    except (av.error.InvalidDataError, ValueError, EOFError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            "not_a_video", f"It is in no video format that Clipseed reads ({why})."
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError("unreadable", f"It cannot be read: {why}.") from error
    assert isinstance(opened, av.container.InputContainer)
    with opened:
        yield opened


def _refuse_to_open(name: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise InputError("names_other_files", "It refers to files besides itself.")


def video_stream(
    container: av.container.InputContainer,
) -> av.video.stream.VideoStream:
    """Return the first video track that is not the cover picture of a song.

    Raises:
        InputError: `no_video_stream`, or `unknown_codec` if no decoder knows it.
    """
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    for stream in moving:
        if stream.codec_context is not None:
            return stream
    if moving:
        raise InputError(
            "unknown_codec", "No decoder knows the codec of its video track."
        )
    tracks = ", ".join(s.type for s in container.streams) or "none"
    raise InputError("no_video_stream", f"No moving pictures; its tracks: {tracks}.")


def packets(
    container: av.container.InputContainer, stream: _Stream
) -> "Iterator[av.Packet[_Stream]]":
    """Yield the packets of a stream, from the container's position to its end."""
    # Where a stream appears after the opening, PyAV raises this behind the last packet.
    with contextlib.suppress(IndexError):
        yield from container.demux(stream)


def all_packets(container: av.container.InputContainer) -> Iterator[Any]:
    """Yield the packets of all streams, from the container's position to its end."""
    with contextlib.suppress(IndexError):
        yield from container.demux()


def origin_s(container: av.container.InputContainer) -> Fraction:
    """Return the container's start in seconds: what players show as 0:00."""
    return Fraction(container.start_time or 0, av.time_base)


def frame_rate(stream: av.video.stream.VideoStream) -> Fraction:
    """Return frames per second as the container declares, or 25 where it does not.

    1000 and more is the clock of a file that knows no rate, not a camera's.
    """
    rate = stream.average_rate or stream.guessed_rate or _DEFAULT_RATE
    return Fraction(rate) if 0 < rate < 1000 else _DEFAULT_RATE


def probe(source: Source) -> Probe:
    """Read what a file holds without decoding a frame.

    The duration comes from the header; where that is silent (a live WebM), from the
    time stamps of the packets.

    Raises:
        InputError: what `open_video` raises, or `no_frames` for a track without
        packets.
    """
    with open_video(source) as container:
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
    """Return when the video track ends by the header; None where it does not say."""
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
        for packet in packets(container, stream):
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
    """Width of a pixel by its height; 1 where the stream declares none or nonsense."""
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
    """Return the upright picture, bilinearly resized: uint8 `[height_px, width_px, 3]`.

    Raises:
        InputError: `unsupported_pixels`.
    """
    turns = _quarter_turns(frame)
    width, height = (height_px, width_px) if turns % 2 else (width_px, height_px)
    # One thread: starting more for each picture costs twice what the work does.
    try:
        resized = frame.reformat(
            width, height, "rgb24", interpolation="BILINEAR", threads=1
        )
    except (av.error.FFmpegError, ValueError) as error:
        what = f"{frame.width} x {frame.height} pixels of format {frame.format.name}"
        raise InputError(
            "unsupported_pixels", f"Pictures of {what} cannot be converted to RGB."
        ) from error
    return np.ascontiguousarray(np.rot90(resized.to_ndarray(), turns))


def upright_rgb(frame: av.video.frame.VideoFrame) -> np.ndarray:
    """Return the upright picture at its own size: uint8 [h, w, 3]."""
    return to_rgb(frame, *display_size(frame))


def _quarter_turns(frame: av.video.frame.VideoFrame) -> int:
    """Counterclockwise turns by 90° that put a frame upright."""
    return round(frame.rotation / 90) % 4
