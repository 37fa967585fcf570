"""Cut clips around matched frames: JPEG frames and sound (paper, section 3.1)."""

import bisect
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from transforms.media.audio import Sound, read_sound
from transforms.media.container import (
    display_size,
    open_video,
    pixel_aspect,
    probe,
    to_rgb,
)
from transforms.media.frame_sampler import Sampled, sample
from transforms.media.images import encode_jpeg
from transforms.media.isolation.containment import MAX_FAILED_SHARE
from transforms.media.media_file import Source
from transforms.media.video_decoder import VideoDecoder

SAMPLE_RATE_HZ = 16_000
_JPEG_QUALITY = 90
# Headers round, and sound may outlast the picture: so much is filled by holding the
# last frame, as players do. More is a video that ends early.
_TOLERANCE_US = 500_000


class CutConfig(NamedTuple):
    """What a clip is.

    Attributes:
        clip_us: its length (paper: 10 s).
        fps: frames stored a second.
        short_side_px: of the stored frames.
        limit_s: how long cutting one video may take.
        max_failed_share: of the first inputs; see `isolation.containment`.
    """

    clip_us: int
    fps: float
    short_side_px: int
    limit_s: float
    max_failed_share: float = MAX_FAILED_SHARE


class CutClip(NamedTuple):
    """A clip as cut.

    Attributes:
        part: that was to be cut.
        start_us: where it starts in the video.
        end_us: where it ends; early where the video turned out to end early.
        times_us: the matched frames that it was cut for.
        duration_us: of the video, as its header says.
        frames: JPEG, at `fps` from `start_us` on.
        height_px: of the frames, upright.
        width_px: also of the frames, upright.
        sound: at 16 kHz, with its verdict.
    """

    part: tuple[int, int]
    start_us: int
    end_us: int
    times_us: tuple[int, ...]
    duration_us: int
    frames: list[bytes]
    height_px: int
    width_px: int
    sound: Sound


Parts = dict[tuple[int, int], tuple[int, ...]]
# What to cut: a part of the video, or the one around a time.
Place = int | tuple[int, int]


def part_around(time_us: int, duration_us: int, clip_us: int) -> tuple[int, int]:
    """Return the boundaries of a clip around a time, moved and cut to fit the video.

    Example:
        >>> part_around(2_000_000, 60_000_000, 10_000_000)
        (0, 10000000)
    """
    start_us = max(0, min(time_us - clip_us // 2, duration_us - clip_us))
    return start_us, min(start_us + clip_us, max(duration_us, time_us + 1))


def plan_parts(ends: Iterable[tuple[int, int]], clip_us: int) -> Parts:
    """Return the distinct parts around `(time_us, duration_us)`, with their times."""
    parts: dict[tuple[int, int], set[int]] = {}
    for time_us, duration_us in ends:
        part = part_around(time_us, duration_us, clip_us)
        parts.setdefault(part, set()).add(time_us)
    return {part: tuple(sorted(parts[part])) for part in sorted(parts)}


def cut_clips(
    source: Source, places: Sequence[Place], config: CutConfig
) -> Iterator[CutClip]:
    """Yield a clip for each distinct video part that is given, or around a given time.

    The video is opened once. Where it breaks or ends before its header says, the parts
    around times there are moved back to what can be shown, and are short only if the
    video is; parts that are given are cut short.

    Raises:
        InputError: as `open_video`, or `decode_timeout`.
    """
    deadline_s = time.monotonic() + config.limit_s
    duration_us = probe(source).duration_us
    times_us = [place for place in places if isinstance(place, int)]
    around = plan_parts(((t, duration_us) for t in times_us), config.clip_us)
    given: Parts = {place: () for place in places if not isinstance(place, int)}
    parts = dict(sorted((given | around).items()))
    with open_video(source) as container:
        decoder = VideoDecoder(container, deadline_s)
        cut_short: list[tuple[int, int]] = []
        for part, clip in _cut(source, decoder, duration_us, parts, config):
            if clip is None:
                continue
            ends_early = clip.end_us < part[1] - _TOLERANCE_US
            if ends_early and clip.start_us > 0 and part not in given:
                cut_short.extend((t, clip.end_us) for t in parts[part])
            else:
                yield clip
        moved = plan_parts(cut_short, config.clip_us)
        for _, clip in _cut(source, decoder, duration_us, moved, config):
            if clip is not None:
                yield clip


def _cut(
    source: Source,
    decoder: VideoDecoder,
    duration_us: int,
    parts: Parts,
    config: CutConfig,
) -> Iterator[tuple[tuple[int, int], CutClip | None]]:
    """Yield each part with its clip, or None if no frame could be decoded."""
    if not parts:
        return
    sounds = {
        part: read_sound(source, *part, SAMPLE_RATE_HZ, decoder.deadline_s)
        for part in parts
    }
    decoder.rewind()
    buffer = _FrameBuffer(config, pixel_aspect(decoder.stream))
    waiting = deque(parts)
    instants = sorted({t for part in parts for t in clip_instants(*part, config.fps)})

    def finish(reached_us: int) -> tuple[tuple[int, int], CutClip | None]:
        part = waiting.popleft()
        breaks = [time_us for time_us, _ in decoder.breaks]
        window = buffer.window(*part, reached_us, breaks, decoder.period_us)
        if window is None:
            return part, None
        clip = buffer.clip(window, part, parts[part], duration_us, sounds[part])
        return part, clip

    for sampled in sample(decoder, instants):
        while waiting and waiting[0][1] <= sampled.time_us:
            yield finish(sampled.time_us)
        if waiting:
            buffer.add(sampled, waiting[0][0])
    while waiting:
        yield finish(decoder.end_us)


def clip_instants(start_us: int, end_us: int, fps: float) -> list[int]:
    """Return the times of a clip's frames: at `fps` from its start, at least one.

    Example:
        >>> len(clip_instants(0, 10_000_000, 25))
        250
    """
    count = max(1, round((end_us - start_us) * fps / 1_000_000))
    return [start_us + round(i * 1_000_000 / fps) for i in range(count)]


class _FrameBuffer:
    """The JPEG frames around the clips being cut; each is encoded once."""

    def __init__(self, config: CutConfig, pixel_aspect: Fraction) -> None:
        self._config = config
        self._pixel_aspect = pixel_aspect
        self._times: list[int] = []
        self._jpegs: list[bytes] = []
        self._size_px: tuple[int, int] | None = None

    def add(self, sampled: Sampled, needed_from_us: int) -> None:
        """Add a frame, and drop those that no later clip shows."""
        if self._size_px is None:
            size_px = display_size(sampled.frame, self._pixel_aspect)
            self._size_px = _scaled(size_px, self._config.short_side_px)
        keep = max(0, bisect.bisect_right(self._times, needed_from_us) - 1)
        del self._times[:keep], self._jpegs[:keep]
        self._times.append(sampled.time_us)
        rgb = to_rgb(sampled.frame, *self._size_px)
        self._jpegs.append(encode_jpeg(rgb, _JPEG_QUALITY))

    def window(
        self,
        start_us: int,
        end_us: int,
        reached_us: int,
        breaks_us: Sequence[int],
        period_us: int,
    ) -> tuple[int, int] | None:
        """Return as much of a part as the undamaged stream covers, or None."""
        first = max(0, bisect.bisect_right(self._times, start_us) - 1)
        inside = [t for t in self._times[first:] if t < end_us]
        if not inside:
            return None
        if inside[0] > start_us + _TOLERANCE_US:
            start_us = inside[0]
        if any(inside[-1] <= t < end_us for t in breaks_us):
            reached_us = inside[-1] + period_us
        if reached_us < end_us - _TOLERANCE_US:
            end_us = reached_us
        return (start_us, end_us) if start_us < end_us else None

    def clip(
        self,
        window: tuple[int, int],
        part: tuple[int, int],
        times_us: tuple[int, ...],
        duration_us: int,
        sound: Sound,
    ) -> CutClip:
        """Pick the frame on screen at each of the clip's instants.

        Args:
            window: what is shown of the part.
            part: that was to be cut.
            times_us: that it is cut around.
            duration_us: of the video.
            sound: of the part.
        """
        assert self._size_px is not None
        instants = clip_instants(*window, self._config.fps)
        rows = (max(0, bisect.bisect_right(self._times, t) - 1) for t in instants)
        frames = [self._jpegs[row] for row in rows]
        width_px, height_px = self._size_px
        return CutClip(
            part,
            *window,
            times_us,
            duration_us,
            frames,
            height_px,
            width_px,
            _trim(sound, *(t - part[0] for t in window)),
        )


def _scaled(size_px: tuple[int, int], short_side_px: int) -> tuple[int, int]:
    """Return width and height with the short side as wanted."""
    scale = short_side_px / min(size_px)
    width_px, height_px = (round(side * scale) for side in size_px)
    return width_px, height_px


def _trim(sound: Sound, from_us: int, to_us: int) -> Sound:
    first, last = (round(t * SAMPLE_RATE_HZ / 1_000_000) for t in (from_us, to_us))
    return sound._replace(samples=sound.samples[first:last])
