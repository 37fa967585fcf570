"""Reading and decoding one video stream, with care for what is damaged in it."""

import contextlib
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import takewhile
from typing import NamedTuple

import av
import av.container
import av.video.frame
import av.video.stream

from clipseed.errors import InputError
from transforms.media.container import (
    all_packets,
    frame_rate,
    header_end_us,
    origin_s,
    packets,
    video_stream,
)
from transforms.media.random_access import is_random_access_point

# Formats that store a decoding order and no presentation times.
_WITHOUT_PTS = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg"})
# Decoders that make up what a stream cut in the middle of a group refers to. H.264's
# waits for a recovery point by itself, and some broadcasts have no IDR picture at all.
_START_AT_ENTRY = frozenset({"hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9"})
# A file that ends this long before its header says so was cut.
_CUT_US = 1_000_000
# Formats whose header may tell the length of the file alone, not that of each track.
_FILE_DURATION = frozenset({"matroska,webm", "flv", "live_flv", "asf"})
_LONG_AGO_US = -(10**12)


# What is lost by a damage.
_REST = "what comes after it is lost"
_GROUP = "the frames from there to the next random access point are left out"


class Unit(NamedTuple):
    """A packet with its place in time.

    Attributes:
        time_us: when its picture shows.
        decode_us: when it must be decoded: no later packet shows before that.
        is_entry: whether decoding may start here.
        is_whole: False where the file lost a part of the packet.
    """

    packet: av.Packet
    time_us: int
    decode_us: int
    is_entry: bool
    is_whole: bool


class VideoDecoder:
    """One open video's packets and frames.

    Frames that may be damaged, from an error to the next random access point, are
    withheld and the damage is written down.

    Attributes:
        breaks: `(time_us, message)` of each damage met; the message also says which
            frames are lost by it.
        stream: the video track.
        end_us: how far the packets read so far reach.
        deadline_s: when decoding has to end, on the monotonic clock.
        period_us: the time that one frame shows.
        has_presentation_times: False where only the order of frames is known.
    """

    def __init__(
        self, container: av.container.InputContainer, deadline_s: float = float("inf")
    ) -> None:
        stream = video_stream(container)
        self.breaks: list[tuple[int, str]] = []
        self.end_us = 0
        self.period_us = round(1_000_000 / frame_rate(stream))
        self.has_presentation_times = container.format.name not in _WITHOUT_PTS
        self.codec = stream.codec_context
        self.codec.thread_count = 1
        self.codec.thread_type = "NONE"
        self._container = container
        self.stream = stream
        self._time_base = stream.time_base or Fraction(1, 1_000_000)
        self._origin_s = origin_s(container)
        self.deadline_s = deadline_s
        self._promised_us = header_end_us(container, stream)
        self._others_end_us = 0
        self._damaged = self.codec.name in _START_AT_ENTRY
        self._primed = self.codec.name != "h264"
        self._started = self._sought = False
        self._decode_us: int | None = None

    def time_us(self, stamp: int) -> int:
        """Return a time stamp of the stream as µs from the container's start."""
        return round((stamp * self._time_base - self._origin_s) * 1_000_000)

    def seek(self, time_us: int) -> None:
        """Go to a place before `time_us`, or to the front where that fails."""
        stamp = int((Fraction(time_us, 1_000_000) + self._origin_s) / self._time_base)
        if not self._primed:
            next(self.read(), None)
        self._sought, self._decode_us = True, None
        try:
            self._container.seek(stamp, stream=self.stream, backward=True)
        except (av.error.FFmpegError, OverflowError):
            self.rewind()

    def rewind(self) -> None:
        """Go back to the first packet."""
        if not self._started:
            return
        self._sought, self._decode_us = False, None
        self._damaged = self.codec.name in _START_AT_ENTRY
        try:
            self._container.seek(min(0, self._container.start_time or 0))
        except av.error.FFmpegError:  # A raw stream knows bytes, and no times.
            self._container.seek(0, unsupported_byte_offset=True)

    def read(self) -> Iterator[Unit]:
        """Yield the packets from here on, in decoding order, as far as the file goes.

        Raises:
            InputError: `decode_timeout` when the deadline has passed.
        """
        self._started = True
        coming = self._packets()
        was_whole = not self._sought  # a seek may land inside a packet
        while True:
            self._check_deadline()
            try:
                packet = next(coming, None)
            except (av.error.FFmpegError, EOFError) as error:
                self.breaks.append((self.end_us, f"reading stopped: {error}; {_REST}"))
                return
            if packet is None:
                self._check_end()
                return
            if not packet.size:
                continue  # a dropped frame of AVI, or the demuxer's goodbye
            if not self._primed:
                self._prime(packet)
            unit = self._unit(packet)
            if was_whole and not unit.is_whole:
                self.breaks.append(
                    (max(0, unit.time_us), f"a packet is cut short; {_GROUP}")
                )
            was_whole = unit.is_whole
            yield unit

    def _prime(self, first: av.Packet) -> None:
        """Show the decoder the file's first packet, wherever decoding will start.

        There x264 leaves its version, by which FFmpeg undoes the errors of old ones;
        without it their 4:4:4 pictures turn green.
        """
        self._primed = True
        with contextlib.suppress(av.error.FFmpegError):
            self.codec.decode(first)
        self.codec.flush_buffers()

    def _check_deadline(self) -> None:
        if time.monotonic() > self.deadline_s:
            raise InputError(
                "decode_timeout",
                "Decoding took longer than the time limit for a video "
                "(--video_timeout_s); raise it if this video is worth the time.",
            )

    def _packets(self) -> "Iterator[av.Packet[av.video.stream.VideoStream]]":
        """Yield the packets of the track, and note how far the others reach."""
        if self._promised_us is not None:
            yield from packets(self._container, self.stream)
            return
        for packet in all_packets(self._container):
            if packet.stream_index == self.stream.index:
                yield packet
            elif packet.pts is not None and packet.time_base is not None:
                end_s = (packet.pts + (packet.duration or 0)) * packet.time_base
                end_us = round((end_s - self._origin_s) * 1_000_000)
                self._others_end_us = max(self._others_end_us, end_us)

    def _check_end(self) -> None:
        promised_us, end_us = self._promised_us, self.end_us
        if promised_us is None and self._container.format.name in _FILE_DURATION:
            promised_us = self._container.duration
            end_us = max(end_us, self._others_end_us)
        if promised_us is not None and promised_us - end_us > _CUT_US:
            message = (
                f"the file ends at {end_us / 1e6:.1f} s, "
                f"its header says {promised_us / 1e6:.1f} s; {_REST}"
            )
            self.breaks.append((self.end_us, message))

    def _unit(self, packet: av.Packet) -> Unit:
        dts = packet.dts
        pts = packet.pts if self.has_presentation_times else dts
        last_us = self._decode_us
        decode_us: int
        if dts is not None:
            decode_us = self.time_us(dts)
        elif pts is None:  # A raw stream has no clock; its frames are counted.
            decode_us = 0 if last_us is None else last_us + self.period_us
        else:  # Matroska leaves out the first ones where frames are reordered.
            decode_us = _LONG_AGO_US if last_us is None else last_us
        time_us = decode_us if pts is None else self.time_us(pts)
        self._decode_us = decode_us
        is_whole = not packet.is_corrupt
        if is_whole and not packet.is_discard:
            shows_us = round((packet.duration or 0) * self._time_base * 1_000_000)
            self.end_us = max(self.end_us, time_us + max(shows_us, self.period_us))
        is_entry = is_whole and is_random_access_point(packet, self.codec)
        return Unit(packet, time_us, decode_us, is_entry, is_whole)

    def decode(self, unit: Unit | None) -> list[av.video.frame.VideoFrame]:
        """Decode one packet (None: drain the decoder) into undamaged frames.

        Recovers from damage at each random access point.
        """
        if unit is None:
            self.codec.skip_frame = "DEFAULT"
        elif not self._can_take(unit):
            return []
        try:
            frames = self.codec.decode(unit.packet if unit is not None else None)
        except EOFError:
            return []
        except av.error.FFmpegError as error:
            at_us = self.end_us if unit is None else unit.decode_us
            self._record(at_us, f"the decoder failed: {error}")
            return []
        return [] if self._damaged else self._intact(frames)

    def _can_take(self, unit: Unit) -> bool:
        """Return whether what the decoder holds and the packet are undamaged."""
        if unit.is_entry and self._damaged:
            self.restart()
        elif not unit.is_whole:
            self._damaged = True
        elif self._damaged and not self.breaks:
            self.breaks.append(
                (max(0, unit.time_us), f"it starts without a keyframe; {_GROUP}")
            )
        return not self._damaged

    def _intact(
        self, frames: list[av.video.frame.VideoFrame]
    ) -> list[av.video.frame.VideoFrame]:
        """Return the frames before the first that the decoder marked as damaged."""
        intact = list(takewhile(lambda frame: not frame.is_corrupt, frames))
        if len(intact) < len(frames):
            time_us = self.frame_time_us(frames[len(intact)])
            self._record(
                self.end_us if time_us is None else time_us,
                "the decoder marked a frame as damaged",
            )
        return intact

    def decode_alone(self, unit: Unit) -> list[av.video.frame.VideoFrame]:
        """Decode one keyframe with nothing before or after it."""
        self.restart()
        return self.decode(unit) or self.decode(None)

    def frame_time_us(self, frame: av.video.frame.VideoFrame) -> int | None:
        """Return when a frame shows; None where no time stamp came with it."""
        return None if frame.pts is None else self.time_us(frame.pts)

    def restart(self) -> None:
        """Forget what was decoded: the next packet must be a random access point."""
        self.codec.flush_buffers()
        self._damaged = False

    def _record(self, time_us: int, message: str) -> None:
        self.breaks.append((max(0, time_us), f"{message}; {_GROUP}"))
        self._damaged = True
