"""The record of a clip that was cut: its pictures and sound with its captions."""

from collections.abc import Iterable

import numpy as np

from clipseed.run.clip_layout import MEL_BINS
from clipseed.run.clip_record import Caption, ClipRecord
from transforms.clips.cut import SAMPLE_RATE_HZ, CutClip
from transforms.media.log_mel import log_mel


def record_of(
    cut: CutClip,
    fps: float,
    captions: Iterable[Caption],
    *,
    clip_id: str,
    video_id: str,
    video: str,
    embedder: str,
) -> ClipRecord:
    """Join a clip with its captions; compute the log-mel of its sound.

    Args:
        cut: frames, and sound of 16 bits, which becomes float32 in [-1, 1).
        fps: that it was cut with.
        captions: best first.
        clip_id: see `ClipRecord`, as for the others.
        video_id: of the source.
        video: as the corpus names it.
        embedder: what the captions' similarities were computed with.
    """
    samples = (cut.sound.samples / 32768).astype(np.float32)
    mel = log_mel(samples) if len(samples) else np.zeros((0, MEL_BINS), np.float32)
    return ClipRecord(
        clip_id=clip_id,
        video_id=video_id,
        video=video,
        video_duration_us=cut.duration_us,
        start_us=cut.start_us,
        end_us=cut.end_us,
        frames=tuple(cut.frames),
        fps=fps,
        height_px=cut.height_px,
        width_px=cut.width_px,
        sound_verdict=cut.sound.verdict,
        samples=samples,
        sample_rate_hz=SAMPLE_RATE_HZ,
        log_mel=mel,
        captions=tuple(captions),
        embedder=embedder,
        times_us=cut.times_us,
    )
