"""Cut one part of a file as a clip, with whatever it holds: pictures, sound, or both.

    (clip,) = cut_part("clotho/rain.wav", 0, TO_THE_END, config)

Benchmarks name the parts. They are cut as mined clips are (`cut_clips`), except that
sound without pictures is a clip too.
"""

from collections.abc import Iterator

from clipseed.errors import InputError
from transforms.clips.cut import SAMPLE_RATE_HZ, CutClip, CutConfig, cut_clips
from transforms.media.audio import read_sound
from transforms.media.container import open_media, probe, video_stream
from transforms.media.media_file import Source

TO_THE_END = -1
# Of whoever cut a file before to the length of its clip.
_TOLERANCE_US = 500_000


def cut_part(
    source: Source, start_us: int, end_us: int, config: CutConfig
) -> Iterator[CutClip]:
    """Yield the clip of a part.

    Args:
        source: a local file. If it is not longer than the part, somebody cut it to that
            length before: all of it is the clip.
        start_us: from the container's start.
        end_us: from the container's start, or `TO_THE_END`.
        config: its `clip_us` is ignored.

    Raises:
        InputError: as `open_media` and `cut_clips`; `outside` for a part that starts
            after the file's end, `no_tracks`, `no_frames`, `no_duration`,
            `broken_sound`.
    """
    pictures = _has_pictures(source)
    duration_us = probe(source).duration_us if pictures else _sound_us(source)
    start_us, end_us = _fit(start_us, end_us, duration_us)
    if not pictures:
        yield _cut_sound(source, start_us, end_us, duration_us)
        return
    clip_us = end_us - start_us
    clips = cut_clips(
        source, [start_us + clip_us // 2], config._replace(clip_us=clip_us)
    )
    clip = next(clips, None)
    if clip is None:
        raise InputError("no_frames", "No frame of it could be decoded.")
    yield clip


def _fit(start_us: int, end_us: int, duration_us: int) -> tuple[int, int]:
    """Return the part as far as a file of that length has it."""
    if end_us == TO_THE_END or duration_us <= end_us - start_us + _TOLERANCE_US:
        return 0, duration_us
    if duration_us <= start_us:
        raise InputError(
            "outside",
            f"It ends at {duration_us / 1e6:.1f} s, before the clip's start at "
            f"{start_us / 1e6:.1f} s.",
        )
    return start_us, min(end_us, duration_us)


def _has_pictures(source: Source) -> bool:
    with open_media(source) as container:
        try:
            video_stream(container)
        except InputError:
            if not container.streams.audio:
                raise InputError("no_tracks", "Neither pictures nor sound.") from None
            return False
        return True


def _sound_us(source: Source) -> int:
    with open_media(source) as container:
        stream = container.streams.audio[0]
        if container.duration:
            return container.duration
        if stream.duration and stream.time_base:
            return round(stream.duration * stream.time_base * 1_000_000)
    raise InputError(
        "no_duration", "It does not say how long it is; convert it to WAV."
    )


def _cut_sound(source: Source, start_us: int, end_us: int, duration_us: int) -> CutClip:
    sound = read_sound(source, start_us, end_us, SAMPLE_RATE_HZ)
    if not len(sound.samples):
        raise InputError("broken_sound", sound.message)
    part = start_us, end_us
    return CutClip(part, *part, (start_us,), duration_us, [], 0, 0, sound)
