"""Picking frames out of a video at given instants, decoding as little as it takes.

Two modes:

- `exact`: the frame on screen at each instant, as a player would show it.
- `keyframe`: the keyframe nearest to each instant; nothing else is decoded.

How little that is, the stream decides. Packets are planned before they are decoded: a
packet's time stamp says which frame an instant needs, so that everything before the
last random access point is dropped, non-reference frames that no instant needs are
skipped by the decoder, and far instants are reached by a seek. Streams without
presentation times (AVI, raw H.264) are decoded whole.
"""

import itertools
import math
from collections.abc import Generator, Iterable, Iterator

import av.video.frame

from transforms.media.instants import Instants, Sampled
from transforms.media.video_decoder import Unit, VideoDecoder

# A seek costs about as much as reading this much of a file.
_SEEK_GAP_US = 20_000_000
# Some indexes point at any packet; a seek tries again this much earlier.
_SEEK_SLACK_US = 10_000_000
# Packets are held back until it is known which are needed, but not more than this.
_MOST_PENDING_BYTES = 64 * 2**20
# Decoders that skip non-reference frames and leave all others as they are.
_SKIPPING_CODECS = frozenset({"h264", "hevc"})
_LONG_AGO_US = -(10**12)


def sample(
    decoder: VideoDecoder, instants_us: Iterable[int], mode: str = "exact"
) -> Iterator[Sampled]:
    """Yield the frames that increasing instants ask for, in order, each once.

    An instant gets no frame where the stream is damaged or has ended; endless instants
    are fine.

    Args:
        decoder: an open video; its `breaks` tell of damage afterwards.
        instants_us: increasing times from the container's start.
        mode: "exact" or "keyframe".

    Raises:
        InputError: `decode_timeout`.
    """
    instants = Instants(instants_us)
    if instants.next_us is None:
        return iter(())
    if mode == "keyframe":
        return _nearest_keyframes(decoder, instants)
    if decoder.has_presentation_times:
        return _Planner(decoder, instants).run()
    return _sequential(decoder, instants)


class _Planner:
    """`exact` sampling where packets say when they show."""

    def __init__(self, decoder: VideoDecoder, instants: Instants) -> None:
        self._decoder = decoder
        self._instants = instants
        self._skips = decoder.codec.name in _SKIPPING_CODECS
        self._pending: list[Unit] = []  # read, not decoded
        self._pending_bytes = 0
        self._position_us = 0  # of the last packet read
        self._inside: list[int] = []  # times of what the decoder was given
        self._fresh = False  # whether pending[0] is a place to start from
        self._wanted: list[tuple[int, int]] = []  # (time, instant), in order
        self._shown: tuple[int, av.video.frame.VideoFrame] | None = None
        self._yielded_us = _LONG_AGO_US  # the last frame given out
        self._sought_us: int | None = None  # the last instant that was sought
        self._seeks_help = True  # until one led elsewhere or not ahead

    def run(self) -> Iterator[Sampled]:
        """Read, seek where the next instant is far, and decode what is needed."""
        units = self._decoder.read()
        while True:
            if self._is_far():
                yield from self._flush()
                units = self._jump()
            unit = next(units, None)
            if unit is None:
                break
            yield from self._take(unit)
            if self._instants.next_us is None:
                break
        yield from self._reach(self._decoder.end_us)
        yield from self._flush()

    def _is_far(self) -> bool:
        next_us = self._instants.next_us
        if next_us is None or next_us == self._sought_us or not self._seeks_help:
            return False
        return next_us - self._position_us > _SEEK_GAP_US

    def _jump(self) -> Iterator[Unit]:
        """Go to a random access point before the next instant, or back to the front."""
        sought_us = self._sought_us = self._instants.next_us
        assert sought_us is not None
        self._clear()
        for slack_us in (0, _SEEK_SLACK_US):
            self._decoder.seek(sought_us - slack_us)
            units = self._decoder.read()
            ends = (u for u in units if u.is_entry or u.time_us > sought_us)
            unit = next(ends, None)
            if unit and unit.is_entry and unit.time_us <= sought_us:
                # One group longer than the gap: reading on is cheaper next time.
                self._seeks_help = unit.time_us > self._position_us
                return itertools.chain([unit], units)
        self._seeks_help = False
        self._decoder.rewind()
        return self._decoder.read()

    def _take(self, unit: Unit) -> Iterator[Sampled]:
        next_us = self._instants.next_us
        if unit.is_entry and next_us is not None and unit.time_us <= next_us:
            self._clear()
            self._fresh = True
        self._pending.append(unit)
        self._pending_bytes += unit.packet.size
        self._position_us = unit.time_us
        yield from self._reach(unit.decode_us)
        if self._pending_bytes > _MOST_PENDING_BYTES:
            yield from self._decode_ahead()

    def _clear(self) -> None:
        self._pending.clear()
        self._pending_bytes = 0

    def _decode_ahead(self) -> Iterator[Sampled]:
        """Decode what was held back, short of a frame that may yet be asked for."""
        next_us = self._instants.next_us
        times = [u.time_us for u in self._pending]
        target_us = max((t for t in times if next_us and t <= next_us), default=None)
        if target_us is not None:
            yield from self._begin()
            yield from self._decode(times.index(target_us), target_us)

    def _begin(self) -> Iterator[Sampled]:
        if self._fresh and self._pending:
            yield from self._flush()

    def _decode(self, count: int, target_us: int) -> Iterator[Sampled]:
        """Decode the first pending packets, before the target only what it needs."""
        units = self._pending[:count]
        del self._pending[:count]
        self._pending_bytes -= sum(u.packet.size for u in units)
        for unit in units:
            if self._skips:
                skip = unit.time_us < target_us
                self._decoder.codec.skip_frame = "NONREF" if skip else "DEFAULT"
            self._inside.append(unit.time_us)
            yield from self._emit(self._decoder.decode(unit))
        self._inside = [t for t in self._inside if t >= target_us]

    def _reach(self, until_us: int) -> Iterator[Sampled]:
        """Decode up to the frames on screen at the instants before a time."""
        while self._instants.due(until_us):
            instant_us = self._instants.advance()
            next_us = yield from self._reach_one(instant_us)
            # The same frame is on screen until then: a header may say, for a day.
            self._instants.skip(min(until_us, next_us))

    def _reach_one(self, instant_us: int) -> Generator[Sampled, None, float]:
        """Decode up to the frame on screen; return when the next one shows."""
        shown = (u for u in self._pending if not u.packet.is_discard)
        times = [u.time_us for u in shown] + self._inside
        if self._shown is not None:
            times.append(self._shown[0])
        if not times:
            return instant_us
        target_us = max((t for t in times if t <= instant_us), default=min(times))
        yield from self._begin()
        if not self._wanted or self._wanted[-1][0] != target_us:
            self._wanted.append((target_us, instant_us))
        yield from self._serve_shown()
        ends = [i for i, u in enumerate(self._pending) if u.time_us == target_us]
        yield from self._decode(ends[-1] + 1 if ends else 0, target_us)
        return min((t for t in times if t > instant_us), default=math.inf)

    def _emit(self, frames: Iterable[av.video.frame.VideoFrame]) -> Iterator[Sampled]:
        for frame in frames:
            time_us = self._decoder.frame_time_us(frame)
            if time_us is None:
                continue
            while self._wanted and self._wanted[0][0] < time_us:
                # Never shown (an alternate reference of VP9, a lost picture): what
                # stood on screen before it, if that is not long ago.
                target_us, instant_us = self._wanted.pop(0)
                shown = self._shown
                if shown and target_us - shown[0] <= 2 * self._decoder.period_us:
                    yield from self._give(instant_us)
            self._shown = (time_us, frame)
            yield from self._serve_shown()

    def _serve_shown(self) -> Iterator[Sampled]:
        if self._shown and self._wanted and self._wanted[0][0] == self._shown[0]:
            yield from self._give(self._wanted.pop(0)[1])

    def _give(self, instant_us: int) -> Iterator[Sampled]:
        assert self._shown is not None
        time_us, frame = self._shown
        if time_us > self._yielded_us:
            self._yielded_us = time_us
            yield Sampled(time_us, instant_us, frame)

    def _flush(self) -> Iterator[Sampled]:
        """Empty the decoder and make it ready for a random access point."""
        yield from self._emit(self._decoder.decode(None))
        self._decoder.restart()
        self._wanted.clear()
        self._inside.clear()
        self._shown = None
        self._fresh = False


def _sequential(decoder: VideoDecoder, instants: Instants) -> Iterator[Sampled]:
    """`exact` sampling where frames have an order and, at best, decoding times."""
    shown: tuple[int, av.video.frame.VideoFrame] | None = None
    yielded_us, breaks = _LONG_AGO_US, 0
    for frame in _all_frames(decoder):
        time_us = _decoding_time_us(decoder, frame, shown)
        pick = shown or (time_us, frame)
        # No frame represents a stretch that was damaged.
        is_gap = shown is not None and len(decoder.breaks) > breaks
        until_us = pick[0] + decoder.period_us if is_gap else time_us
        while instants.due(time_us):
            instant_us = instants.advance()
            if pick[0] != yielded_us and instant_us < until_us:
                yielded_us = pick[0]
                yield Sampled(pick[0], instant_us, pick[1])
        shown, breaks = (time_us, frame), len(decoder.breaks)
        if instants.next_us is None:
            return
    if shown and shown[0] != yielded_us and instants.due(shown[0] + decoder.period_us):
        yield Sampled(shown[0], instants.advance(), shown[1])


def _decoding_time_us(
    decoder: VideoDecoder,
    frame: av.video.frame.VideoFrame,
    before: tuple[int, av.video.frame.VideoFrame] | None,
) -> int:
    if frame.dts is not None:
        return decoder.time_us(frame.dts)
    return before[0] + decoder.period_us if before else 0


def _all_frames(decoder: VideoDecoder) -> Iterator[av.video.frame.VideoFrame]:
    for unit in decoder.read():
        yield from decoder.decode(unit)
    yield from decoder.decode(None)


def _nearest_keyframes(decoder: VideoDecoder, instants: Instants) -> Iterator[Sampled]:
    """Decode keyframes alone, the nearest to each instant."""
    assert instants.next_us is not None
    if instants.next_us > _SEEK_GAP_US:
        decoder.seek(instants.next_us)
    before: Unit | None = None
    for unit in decoder.read():
        if not unit.packet.is_keyframe or not unit.is_whole:
            continue
        if before is not None:
            middle_us = (before.time_us + unit.time_us) / 2
            yield from _serve_keyframe(decoder, instants, before, middle_us)
        before = unit
        if instants.next_us is None:
            return
    if before is not None:
        yield from _serve_keyframe(decoder, instants, before, decoder.end_us)


def _serve_keyframe(
    decoder: VideoDecoder, instants: Instants, unit: Unit, until_us: float
) -> Iterator[Sampled]:
    if not instants.due(until_us):
        return
    instant_us = instants.advance()
    while instants.due(until_us):
        instants.advance()
    for frame in decoder.decode_alone(unit)[:1]:
        yield Sampled(unit.time_us, instant_us, frame)
