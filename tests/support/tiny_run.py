"""A run directory of made clips, as `clipseed mine` would leave it."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from clipseed.run.clip_record import Caption, ClipRecord, encode
from clipseed.run.manifest import RunManifest
from clipseed.run.tables import CsvPair
from clipseed.run.writer import RunWriter


def clip_record(
    number: int,
    captions: Sequence[str],
    frames: int = 50,
    sound: bool = True,
    jpegs: tuple[bytes, ...] | None = None,
) -> ClipRecord:
    """Return a clip whose frames are one gray each: `number` and the frame's place."""
    if jpegs is None:
        jpegs = tuple(_jpeg(number, place) for place in range(frames))
    mel_frames = frames * 4 if sound else 0
    mel = np.full((mel_frames, 128), float(number), np.float32)
    mel += np.arange(mel_frames, dtype=np.float32)[:, None] / 1000
    return ClipRecord(
        clip_id=f"clip{number}",
        video_id=f"video{number}",
        video=f"{number}.mp4",
        video_duration_us=60_000_000,
        start_us=0,
        end_us=frames * 40_000,
        frames=jpegs,
        fps=25.0,
        height_px=48,
        width_px=64,
        sound_verdict="ok" if sound else "none",
        samples=np.zeros(mel_frames * 160, np.float32),
        sample_rate_hz=16_000,
        log_mel=mel,
        captions=tuple(
            Caption(text, f"seed{i}", f"{i}.jpg", 0.75, 1, 5_000_000)
            for i, text in enumerate(captions)
        ),
        embedder="made@1",
    )


def gray(number: int, place: int) -> int:
    """Return what the frame at a place of a clip shows."""
    return 25 * number + 2 * place


def _jpeg(number: int, place: int) -> bytes:
    buffer = io.BytesIO()
    shade = gray(number, place)
    Image.new("RGB", (64, 48), (shade, shade, shade)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_run(directory: Path, records: Sequence[ClipRecord], shards: int = 2) -> Path:
    """Write clips, their captions, and the manifest that readers trust."""
    writer = RunWriter(str(directory))
    files = [
        writer.write_clips(shard, shards, map(encode, records[shard::shards]))
        for shard in range(shards)
    ]
    pairs = [
        CsvPair(record.video, record.start_us, record.end_us, caption.text)
        for record in records
        for caption in record.captions
    ]
    files.append(writer.write_pairs_csv(pairs))
    writer.finish(RunManifest(tuple(files)))
    return directory
