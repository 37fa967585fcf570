"""What the decoders make of a damaged file: its outcome, and the time it took.

The file goes the way it goes in a job: its parts, their frames, a clip with its sound;
an image is decoded and resized.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.fuzz.mutations import Mutant, mutate
from benchmarks.fuzz.sources import Source
from clipseed.errors import InputError
from models.pretrained.resizing import squeeze
from transforms.clips.cut import CutConfig, cut_clips
from transforms.media.images import ImageLimits, decode_image, resize_for_embedding
from transforms.media.isolation.worker_process import Isolation
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames
from transforms.media.video_parts import video_parts

_LIMIT_S = 20.0
_SAMPLING = SamplingConfig(2.0, "exact", squeeze(32), 60.0, _LIMIT_S, 1200.0)
_CUT = CutConfig(1_000_000, 5.0, 32, _LIMIT_S)
USED, USED_IN_PART = "used", "used, with breaks"


class Verdict(NamedTuple):
    """What became of a file.

    Attributes:
        outcome: `USED`, `USED_IN_PART`, or the reason of its dead letter.
        clip: the reason why no clip could be cut, "" for none.
        message: of the first dead letter.
        parts: how many it was sampled in.
        seconds: how long all of it took.
    """

    outcome: str
    clip: str
    message: str
    parts: int
    seconds: float


def examine_video(path: str, isolation: Isolation) -> Verdict:
    """Sample a video and cut a clip of it.

    Raises:
        Exception: whatever would end a job.
    """
    start_s = time.monotonic()
    outcome, message, parts = _sample(path, isolation)
    clip, clip_message = "", ""
    try:
        for _ in isolation.iterate(
            cut_clips, [1_000_000], _CUT, file=path, limit_s=_LIMIT_S
        ):
            pass
    except InputError as error:
        clip, clip_message = error.reason, error.message
    seconds = time.monotonic() - start_s
    return Verdict(outcome, clip, message or clip_message, parts, seconds)


def _sample(path: str, isolation: Isolation) -> tuple[str, str, int]:
    frames, messages, parts = 0, [], []
    try:
        parts = list(
            isolation.iterate(
                video_parts,
                _SAMPLING.part_s,
                _SAMPLING.max_duration_s,
                file=path,
                limit_s=_LIMIT_S,
            )
        )
        for start_us, end_us in parts:
            for item in isolation.iterate(
                extract_frames,
                start_us,
                end_us,
                _SAMPLING,
                file=path,
                limit_s=_LIMIT_S,
            ):
                if isinstance(item, Frame):
                    frames += 1
                else:
                    messages.append(item.message)
    except InputError as error:
        return error.reason, error.message, len(parts)
    message = messages[0] if messages else ""
    if not frames:
        return ("broken_video" if messages else "no_frames"), message, len(parts)
    return (USED_IN_PART if messages else USED), message, len(parts)


def examine_image(data: bytes) -> Verdict:
    """Decode and resize an image.

    Raises:
        Exception: whatever would end a job.
    """
    start_s, outcome, message = time.monotonic(), USED, ""
    try:
        resize_for_embedding(decode_image(data, ImageLimits()), 32)
    except InputError as error:
        outcome, message = error.reason, error.message
    return Verdict(outcome, "", message, 0, time.monotonic() - start_s)


def examine_mutants(
    sources: Sequence[Source], images: Sequence[Source], numbers: range, seed: int
) -> Iterator[tuple[int, Mutant, Verdict]]:
    """Make and examine mutants by number; every eighth is an image."""
    isolation = Isolation()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in numbers:
                rng = Random(f"{seed}/{number}")
                pool = images if images and number % 8 == 7 else sources
                mutant = mutate(rng.choice(pool), pool, rng)
                if pool is images:
                    yield number, mutant, examine_image(mutant.data)
                    continue
                path = os.path.join(folder, f"{number}{Path(mutant.name).suffix}")
                Path(path).write_bytes(mutant.data)
                yield number, mutant, examine_video(path, isolation)
                os.unlink(path)
    finally:
        isolation.close()
