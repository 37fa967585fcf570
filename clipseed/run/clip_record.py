"""Clip-caption records: TFRecords of SequenceExamples in the layout of DMVR.

    write_records(path, [encode(record)])
    for data in read_records(path):
        record = decode(data)

The keys are those that Scenic's and DMVR's readers parse (reference: DMVR
`generate_from_file.py` and `modalities.py`); where a clip comes from stands in context
keys of our own. Nothing here needs Beam, so training may import it.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clipseed.errors import InputError
from clipseed.run.example_fields import Fields, bad_record
from transforms.media.log_mel import FRAMES_PER_S, LOG_OFFSET, MEL_BINS

LAYOUT_VERSION = 1

_IMAGE = "image/encoded"
_WAVEFORM = "WAVEFORM/feature/floats"
_TIMES = "clip/matched/timestamp"
_MELSPEC = "melspec/feature/floats"


class Caption(NamedTuple):
    """A caption of a clip, and the match that it came by.

    Attributes:
        seed_image: the seed's image by reference.
        similarity: stored as float32.
        rank: of the match among the seed's, from 1.
        time_us: of the matched frame, in the video.
    """

    text: str
    seed_id: str
    seed_image: str
    similarity: float
    rank: int
    time_us: int


@dataclass(frozen=True, eq=False)
class ClipRecord:
    """A clip of a video with its sound and captions.

    Attributes:
        video: the video as the corpus names it.
        frames: JPEG, one a frame.
        fps: frames a second, stored as float32.
        sound_verdict: of `transforms.media.audio`.
        samples: float32 [n] in [-1, 1], mono; empty without sound.
        log_mel: float32 [frames, 128], 100 a second; empty without sound.
        embedder: what the similarities were computed with.
        times_us: the matched frames that it was cut for; those of captions and of
            captions that another match of it had already.
    """

    clip_id: str
    video_id: str
    video: str
    video_duration_us: int
    start_us: int
    end_us: int
    frames: tuple[bytes, ...]
    fps: float
    height_px: int
    width_px: int
    sound_verdict: str
    samples: np.ndarray
    sample_rate_hz: int
    log_mel: np.ndarray
    captions: tuple[Caption, ...]
    embedder: str
    times_us: tuple[int, ...] = ()


def encode(record: ClipRecord) -> bytes:
    """Serializes a record; same record, same bytes.

    The last, partial second of the spectrogram is filled with silence (`ln LOG_OFFSET`)
    to the 12,800 floats that readers expect; `melspec/frame_count` says how many
    frames are real. Without sound both feature lists are there and empty.

    Raises:
        ValueError: samples outside [-1, 1], or arrays of a wrong shape or type.
    """
    import tensorflow as tf

    _check_sound(record)
    example = tf.train.SequenceExample()
    for key, (kind, values) in _context(record).items():
        typed = getattr(example.context.feature[key], kind)
        typed.SetInParent()  # An empty list keeps its type.
        typed.value.extend(values)
    lists = example.feature_lists.feature_list
    for frame in record.frames:
        lists[_IMAGE].feature.add().bytes_list.value.append(frame)
    for key in (_IMAGE, _WAVEFORM, _MELSPEC):
        lists[key].SetInParent()  # There even when empty: readers want the key.
    if len(record.samples):
        step = lists[_WAVEFORM].feature.add()
        step.float_list.value.extend(record.samples.tolist())
    for second in _seconds(record.log_mel):
        step = lists[_MELSPEC].feature.add()
        step.float_list.value.extend(second.tolist())
    return example.SerializeToString(deterministic=True)


def decode(data: bytes) -> ClipRecord:
    """The inverse of `encode`.

    Raises:
        InputError: `bad_record`, naming the key that is missing or wrong.
    """
    fields = _fields(data)
    version = fields.integer("clip/layout_version")
    if version != LAYOUT_VERSION:
        raise bad_record(
            f"its layout is {version}, this program reads {LAYOUT_VERSION}"
        )
    return ClipRecord(
        clip_id=fields.text("clip/id"),
        video_id=fields.text("videoid"),
        video=fields.text("video/filename"),
        video_duration_us=fields.integer("video/duration"),
        start_us=fields.integer("clip/start/timestamp"),
        end_us=fields.integer("clip/end/timestamp"),
        frames=fields.blobs(_IMAGE),
        fps=fields.number("image/fps"),
        height_px=fields.integer("image/height"),
        width_px=fields.integer("image/width"),
        sound_verdict=fields.text("sound/verdict"),
        samples=fields.floats(_WAVEFORM).reshape(-1),
        sample_rate_hz=fields.integer("WAVEFORM/sample_rate"),
        log_mel=_read_log_mel(fields),
        captions=_read_captions(fields),
        embedder=fields.text("embedder"),
        times_us=tuple(fields.values(_TIMES, "int64_list")),
    )


def video_of(data: bytes) -> str:
    """The id of the video that a serialized record is of.

    Raises:
        InputError: `bad_record`.
    """
    return _fields(data).text("videoid")


def _fields(data: bytes) -> Fields:
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return Fields(tf.train.SequenceExample.FromString(data))
    except DecodeError as error:
        raise bad_record(f"it is no SequenceExample ({error})") from error


def write_records(path: str, records: Iterable[bytes]) -> None:
    """Writes serialized records, in their order, to a TFRecord file."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)


def read_records(path: str) -> Iterator[bytes]:
    """Reads serialized records in their order, checking each one's CRC.

    Raises:
        InputError: `damaged_shard`, after the records before the damage; `not_found`.
    """
    import tensorflow as tf

    try:
        yield from tf.data.TFRecordDataset(path).as_numpy_iterator()
    except tf.errors.NotFoundError as error:
        raise InputError(
            "not_found", f"{path} does not exist; check the name."
        ) from error
    except tf.errors.DataLossError as error:
        raise InputError(
            "damaged_shard",
            f"{os.path.basename(path)} is damaged ({error.message}); copy it again, or "
            "run the job again.",
        ) from error


# --- writing -------------------------------------------------------------------------


def _check_sound(record: ClipRecord) -> None:
    samples, mel = record.samples, record.log_mel
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise ValueError(f"samples: {samples.dtype} {samples.shape}, not float32 [n]")
    if mel.dtype != np.float32 or mel.ndim != 2 or mel.shape[1] != MEL_BINS:
        raise ValueError(f"log_mel: {mel.dtype} {mel.shape}, not float32 [n, 128]")
    # Written so that NaN fails too.
    if len(samples) and not np.abs(samples).max() <= 1:
        raise ValueError("samples lie outside [-1, 1]; divide int16 by 32768")


def _context(record: ClipRecord) -> dict[str, tuple[str, list]]:
    """Each context key's kind and values."""
    captions = record.captions
    ints = {
        "clip/label/index": [],  # Scenic's mbt reader always parses the label
        "clip/layout_version": [LAYOUT_VERSION],
        "clip/start/timestamp": [record.start_us],
        "clip/end/timestamp": [record.end_us],
        "video/duration": [record.video_duration_us],
        "image/height": [record.height_px],
        "image/width": [record.width_px],
        "WAVEFORM/sample_rate": [record.sample_rate_hz],
        "melspec/frame_count": [len(record.log_mel)],
        _TIMES: list(record.times_us),
        "match/rank": [caption.rank for caption in captions],
        "match/time": [caption.time_us for caption in captions],
    }
    floats = {
        "image/fps": [record.fps],
        "match/similarity": [caption.similarity for caption in captions],
    }
    texts = {
        "clip/label/text": [],
        "clip/id": [record.clip_id],
        "videoid": [record.video_id],
        "video/filename": [record.video],
        "sound/verdict": [record.sound_verdict],
        "embedder": [record.embedder],
        "caption/string": [caption.text for caption in captions],
        "seed/id": [caption.seed_id for caption in captions],
        "seed/image": [caption.seed_image for caption in captions],
    }
    return (
        {key: ("int64_list", values) for key, values in ints.items()}
        | {key: ("float_list", values) for key, values in floats.items()}
        | {
            key: ("bytes_list", [value.encode() for value in values])
            for key, values in texts.items()
        }
    )


def _seconds(log_mel: np.ndarray) -> np.ndarray:
    """float32 [frames, 128] as [seconds, 12800], silence after the last frame."""
    missing = -len(log_mel) % FRAMES_PER_S
    silence = np.full((missing, MEL_BINS), np.log(LOG_OFFSET), np.float32)
    return np.concatenate([log_mel, silence]).reshape(-1, FRAMES_PER_S * MEL_BINS)


def _read_log_mel(fields: Fields) -> np.ndarray:
    """float32 [frames, 128], without what fills the last second."""
    count = fields.integer("melspec/frame_count")
    flat = fields.floats(_MELSPEC).reshape(-1)
    seconds, rest = divmod(len(flat), FRAMES_PER_S * MEL_BINS)
    if rest or seconds != -(-count // FRAMES_PER_S):
        raise bad_record(f"{_MELSPEC} has {len(flat)} floats for {count} frames")
    return flat.reshape(-1, MEL_BINS)[:count]


def _read_captions(fields: Fields) -> tuple[Caption, ...]:
    """What the parallel lists say, one caption an entry."""
    columns = (
        fields.texts("caption/string"),
        fields.texts("seed/id"),
        fields.texts("seed/image"),
        fields.values("match/similarity", "float_list"),
        fields.values("match/rank", "int64_list"),
        fields.values("match/time", "int64_list"),
    )
    if len({len(column) for column in columns}) > 1:
        raise bad_record("captions and their matches differ in number")
    return tuple(Caption(*row) for row in zip(*columns, strict=True))
