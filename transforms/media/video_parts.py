"""The parts that a video is sampled in, bounded by what its file really holds.

A header may declare any duration: 35 KB have declared 66 years. So a duration that
makes more than one part is measured, on the packets at the end of the file, or on all
of them where a file is too small for what it declares or has no readable end. Nothing
here decodes.
"""

from collections.abc import Iterable, Iterator

import av.container
import av.error
import av.video.stream

from clipseed.errors import InputError
from transforms.media.container import (
    frame_rate,
    header_end_us,
    open_video,
    origin_s,
    packets,
    video_stream,
)
from transforms.media.media_file import MediaFile, Source

_END = 2**62
# A file with fewer bytes a second than this is read to its end: it is small, and what
# it declares may be made up. Slides in a modern codec take about so many.
_PLAUSIBLE_BYTES_PER_S = 1000
_ROUNDING_US = 1_000_000


def video_parts(
    source: Source, part_s: float, max_duration_s: float | None = None
) -> Iterator[tuple[int, int]]:
    """Yield the `(start_us, end_us)` parts of a video; the last one is open-ended.

    Headers lie: whatever the stream holds beyond its announced end belongs to the last.
    Stretches without a packet, longer than a part, belong to none.

    Args:
        source: a local file.
        part_s: length of a part.
        max_duration_s: a video has to be shorter than this; None for no limit.

    Raises:
        InputError: as `open_video`, `no_frames` for a track without packets, or
            `duration` for a video that is too long.
    """
    if isinstance(source, str):
        with MediaFile.open(source) as file:
            yield from video_parts(file, part_s, max_duration_s)
        return
    part_us = round(part_s * 1_000_000)
    declared_us = _declared_us(source)
    is_sure = declared_us > 0 and not _is_doubtful(source, declared_us)
    if is_sure and declared_us <= part_us and not _is_over(declared_us, max_duration_s):
        yield 0, _END
        return
    times_us = _packet_times(source, declared_us) if is_sure else []
    if not times_us or _is_doubtful(source, max(times_us)):
        times_us, is_sure = _packet_times(source, 0), False
    if not times_us:
        raise InputError("no_frames", "The video track holds no frame to show.")
    end_us = max(times_us)
    if end_us < declared_us + _ROUNDING_US:
        end_us = min(end_us, declared_us)
    if _is_over(end_us, max_duration_s):
        raise InputError(
            "duration",
            f"{end_us / 1e6:g} s long; want less than {max_duration_s:g} s "
            "(--max_duration_s)",
        )
    last = max(0, end_us - 1) // part_us
    numbers = range(last + 1) if is_sure else _occupied(times_us, part_us, last)
    for number in numbers:
        end = _END if number == last else (number + 1) * part_us
        yield number * part_us, end


def _is_over(duration_us: int, max_duration_s: float | None) -> bool:
    return max_duration_s is not None and duration_us >= max_duration_s * 1_000_000


def _is_doubtful(file: MediaFile, declared_us: int) -> bool:
    return file.size_bytes < declared_us / 1e6 * _PLAUSIBLE_BYTES_PER_S


def _declared_us(file: MediaFile) -> int:
    """Return the duration that the header says; 0 where it says none."""
    with open_video(file) as container:
        stream = video_stream(container)
        return header_end_us(container, stream) or container.duration or 0


def _packet_times(file: MediaFile, from_us: int) -> list[int]:
    """Return until when each packet's picture is shown, from a time on, in µs.

    Without times a packet counts as one frame. What lies before damage has a length;
    decoding records the damage.
    """
    with open_video(file) as container:
        stream = video_stream(container)
        period_us = round(1_000_000 / frame_rate(stream))
        if from_us and not _seek(container, stream, from_us):
            return []
        times_us: list[int] = []
        try:
            for packet in packets(container, stream):
                if not packet.size or packet.is_discard:
                    continue
                stamp = packet.pts if packet.pts is not None else packet.dts
                start_us = len(times_us) * period_us
                if stamp is not None and packet.time_base is not None:
                    start_s = stamp * packet.time_base - origin_s(container)
                    start_us = round(start_s * 1_000_000)
                times_us.append(start_us + period_us)
        except (av.error.FFmpegError, EOFError):
            pass
        return times_us


def _seek(
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    time_us: int,
) -> bool:
    """Go to the last random access point before a time; False where that fails."""
    time_base = stream.time_base
    if not time_base:
        return False
    stamp = int((time_us / 1_000_000 + origin_s(container)) / time_base)
    try:
        container.seek(stamp, stream=stream, backward=True)
    except (av.error.FFmpegError, OverflowError):
        return False
    return True


def _occupied(times_us: Iterable[int], part_us: int, last: int) -> list[int]:
    """Return the numbers of the parts that may show a frame of their own.

    The next part is one of them: its first instant may show the frame before it.
    """
    numbers = {max(0, time_us) // part_us for time_us in times_us}
    numbers |= {number + 1 for number in numbers}
    return sorted(number for number in numbers | {0} if number <= last)
