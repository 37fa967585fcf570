"""Frames of a video, at so many a second, ready for the embedder."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.pretrained.resizing import Resizing
from transforms.media.container import open_video, pixel_aspect, video_stream
from transforms.media.frame_sampler import sample
from transforms.media.isolation.containment import MAX_FAILED_SHARE
from transforms.media.media_file import Source
from transforms.media.resize_picture import resize_frame
from transforms.media.video_decoder import VideoDecoder

# Damages of a part that get a dead letter each.
_MOST_BREAKS = 20
# Of the open-ended last part of a video whose header says less than it holds.
_LONGEST_PART_US = 24 * 3600 * 1_000_000


class SamplingConfig(NamedTuple):
    """How frames are taken.

    Attributes:
        fps: frames a second of video (paper: 1).
        mode: "exact" or "keyframe", see `transforms.media.frame_sampler`.
        resizing: what the embedder takes.
        part_s: longer videos are sampled in parts of this many seconds.
        limit_s: how long decoding a part may take.
        max_duration_s: a video has to be shorter than this; None for no limit.
        max_failed_share: of the first inputs; see `isolation.containment`.
        phase: place of an instant between two multiples of 1 / fps: 0 at the first,
            0.5 in the middle.
    """

    fps: float
    mode: str
    resizing: Resizing
    part_s: float
    limit_s: float
    max_duration_s: float | None = None
    max_failed_share: float = MAX_FAILED_SHARE
    phase: float = 0.0


class Frame(NamedTuple):
    """One sampled frame: uint8 [s, s, 3], RGB, upright."""

    time_us: int
    image: np.ndarray


class Break(NamedTuple):
    """Where a video is damaged; the message also says which frames are lost by it."""

    time_us: int
    message: str


def extract_frames(
    source: Source, start_us: int, end_us: int, config: SamplingConfig
) -> Iterator[Frame | Break]:
    """Yield the frames of one part, then where the stream was damaged.

    Parts together yield the frames of the whole: an instant belongs to the part that it
    is in, a frame that several instants share to the first.

    Args:
        source: a local file.
        start_us: of the part; instants are 1 / fps apart from the video's start on.
        end_us: of the part, exclusive.
        config: how to sample.

    Raises:
        InputError: as `open_video`, or `decode_timeout`.
    """
    with open_video(source) as container:
        decoder = VideoDecoder(container, time.monotonic() + config.limit_s)
        aspect = pixel_aspect(video_stream(container))
        end_us = min(end_us, start_us + _LONGEST_PART_US)
        instants = _instants(start_us, end_us, config.fps, config.phase)
        for sampled in sample(decoder, instants, config.mode):
            if sampled.instant_us >= start_us and sampled.time_us < end_us:
                picture = resize_frame(sampled.frame, aspect, config.resizing)
                yield Frame(sampled.time_us, picture)
        yield from _told(decoder.breaks)


def _told(breaks: Sequence[tuple[int, str]]) -> Iterator[Break]:
    """Yield the first breaks, and how many more there are."""
    for time_us, message in breaks[:_MOST_BREAKS]:
        yield Break(time_us, message)
    if len(breaks) > _MOST_BREAKS:
        rest = breaks[_MOST_BREAKS:]
        yield Break(rest[0][0], f"{len(rest)} more damages from there on")


def _instants(start_us: int, end_us: int, fps: float, phase: float) -> Iterator[int]:
    """Yield instants 1 / fps apart, from the last one before the part on.

    That one decides whether the part's first frame was the previous part's already.
    """
    first = max(0, math.ceil(start_us * fps / 1_000_000 - phase) - 1)
    for i in range(first, 2**62):
        instant_us = round((i + phase) * 1_000_000 / fps)
        if instant_us >= end_us:
            return
        yield instant_us
