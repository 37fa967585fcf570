"""Clips as large as mined ones, made in seconds: to measure training, not to learn.

write_made_run(Path("run"), clips=32)
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from clipseed.run.clip_layout import MEL_BINS, MEL_FRAMES_PER_S
from clipseed.run.clip_record import Caption, ClipRecord, encode
from clipseed.run.manifest import RunManifest
from clipseed.run.writer import RunWriter

_SECONDS, _FPS, _SOUND_HZ = 10, 25, 16_000
_WIDTH_PX, _HEIGHT_PX = 456, 256
# A clip repeats so many frames: what is read and decoded is as if all differed.
_DISTINCT = 5


def write_made_run(directory: Path, clips: int) -> None:
    """Write a run directory of clips of 10 s at 25 fps with sound."""
    writer = RunWriter(str(directory))
    file = writer.write_clips(0, 1, (encode(_clip(number)) for number in range(clips)))
    writer.finish(RunManifest((file,)))


def _clip(number: int) -> ClipRecord:
    random = np.random.default_rng(number)
    frames = [_jpeg(random) for _ in range(_DISTINCT)]
    mel = random.normal(-1.6, 1.7, (_SECONDS * MEL_FRAMES_PER_S, MEL_BINS))
    noise = random.uniform(-0.5, 0.5, _SECONDS * _SOUND_HZ)
    return ClipRecord(
        clip_id=f"clip{number}",
        video_id=f"video{number}",
        video=f"{number}.mp4",
        video_duration_us=_SECONDS * 1_000_000,
        start_us=0,
        end_us=_SECONDS * 1_000_000,
        frames=tuple(frames * (_SECONDS * _FPS // _DISTINCT)),
        fps=float(_FPS),
        height_px=_HEIGHT_PX,
        width_px=_WIDTH_PX,
        sound_verdict="ok",
        samples=noise.astype(np.float32),
        sample_rate_hz=_SOUND_HZ,
        log_mel=mel.astype(np.float32),
        captions=(Caption(f"a made caption {number}", "", "", 1.0, 1, 0),),
        embedder="made",
    )


def _jpeg(random: np.random.Generator) -> bytes:
    """Render a frame with as much detail as film has: some 20 KB."""
    coarse = random.integers(0, 256, (32, 57, 3), np.uint8)
    image = Image.fromarray(coarse).resize(
        (_WIDTH_PX, _HEIGHT_PX), Image.Resampling.BICUBIC
    )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
