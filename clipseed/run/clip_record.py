"""Clip-caption records: SequenceExamples in the layout of DMVR, without TensorFlow.

    write_records(path, [encode(record)])
    for data in read_records(path):
        record = decode(data)

`clipseed.run.clip_layout` names the keys.
"""

import io
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from clipseed.elements import TRANSFERRED
from clipseed.run import clip_layout as key
from clipseed.run.clip_layout import LOG_OFFSET, MEL_BINS, MEL_FRAMES_PER_S
from clipseed.run.example_fields import Fields, bad_record


class Caption(NamedTuple):
    """A caption of a clip, and the match that it was transferred by, if it was.

    Attributes:
        seed_image: reference of the seed's image.
        similarity: stored as float32; for other sources the caption's score.
        rank: of the match among those of the seed, from 1.
        time_us: of the matched frame, in the video.
        source: `TRANSFERRED`, `PSEUDOLABEL` or `ASR`.
    """

    text: str
    seed_id: str
    seed_image: str
    similarity: float
    rank: int
    time_us: int
    source: str = TRANSFERRED


@dataclass(frozen=True, eq=False)
class ClipRecord:
    """A clip of a video with its sound and captions.

    Attributes:
        video: the video as the corpus names it.
        frames: one JPEG per frame; see `decode_frames`.
        fps: frames per second, stored as float32.
        sound_verdict: `ok`, `silent`, `none` or `broken`.
        samples: float32 [n] in [-1, 1], mono; empty without sound.
        log_mel: float32 [frames, 128], 100 per second; empty without sound.
        embedder: what the similarities were computed with.
        times_us: the matched frames that it was cut for: those of its captions, and
            those of equal captions of less similar seeds.
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

    def decode_frames(self) -> np.ndarray:
        """Decode the frames: uint8 [n, h, w, 3], RGB."""
        from PIL import Image

        shape = (0, self.height_px, self.width_px, 3)
        pictures = (Image.open(io.BytesIO(jpeg)) for jpeg in self.frames)
        pixels = [np.asarray(picture.convert("RGB")) for picture in pictures]
        return np.stack(pixels) if pixels else np.zeros(shape, np.uint8)


def encode(record: ClipRecord) -> bytes:
    """Serialize a record; the same record yields the same bytes.

    The last, partial second of the spectrogram is filled with silence (`ln LOG_OFFSET`)
    to the 12,800 floats that readers expect; `melspec/frame_count` says how many
    frames are real. Without sound there is one second of silence, which the readers of
    DMVR and Scenic repeat to the length they want (with an empty list they fail), and
    no frame is real.

    Raises:
        ValueError: samples outside [-1, 1], or arrays of a wrong shape or type.
    """
    _check_sound(record)
    example = _message()
    for name, (kind, values) in _context(record).items():
        typed = getattr(example.context.feature[name], kind)
        typed.SetInParent()  # An empty list keeps its type.
        typed.value.extend(values)
    lists = example.feature_lists.feature_list
    for frame in record.frames:
        lists[key.IMAGE].feature.add().bytes_list.value.append(frame)
    lists[key.IMAGE].SetInParent()  # There even when empty: readers want the key.
    waveform = lists[key.WAVEFORM].feature.add().float_list.value
    if len(record.samples):
        waveform.extend(record.samples.tolist())
    else:
        waveform.extend([0.0] * record.sample_rate_hz)
    for second in _seconds(record.log_mel):
        step = lists[key.MEL_SPECTROGRAM].feature.add()
        step.float_list.value.extend(second.tolist())
    return example.SerializeToString(deterministic=True)


def decode(data: bytes) -> ClipRecord:
    """Parse what `encode` wrote.

    Raises:
        InputError: `bad_record`, naming the key that is missing or wrong.
    """
    fields = _fields(data)
    version = fields.integer(key.VERSION)
    if version != key.LAYOUT_VERSION:
        raise bad_record(
            f"its layout is {version}, this program reads {key.LAYOUT_VERSION}"
        )
    return ClipRecord(
        clip_id=fields.text(key.CLIP_ID),
        video_id=fields.text(key.VIDEO_ID),
        video=fields.text(key.VIDEO),
        video_duration_us=fields.integer(key.VIDEO_DURATION),
        start_us=fields.integer(key.START),
        end_us=fields.integer(key.END),
        frames=fields.blobs(key.IMAGE),
        fps=fields.number(key.FPS),
        height_px=fields.integer(key.HEIGHT),
        width_px=fields.integer(key.WIDTH),
        sound_verdict=fields.text(key.SOUND_VERDICT),
        samples=_read_samples(fields),
        sample_rate_hz=fields.integer(key.SAMPLE_RATE),
        log_mel=_read_log_mel(fields),
        captions=_read_captions(fields),
        embedder=fields.text(key.EMBEDDER),
        times_us=tuple(fields.values(key.MATCHED_TIMES, "int64_list")),
    )


def video_of(data: bytes) -> str:
    """Return the id of the video that a serialized record was cut from.

    Raises:
        InputError: `bad_record`.
    """
    return _fields(data).text(key.VIDEO_ID)


def _fields(data: bytes) -> Fields:
    from google.protobuf.message import DecodeError

    example = _message()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise bad_record(f"it is not a SequenceExample ({error})") from error
    return Fields(example)


def _message() -> Any:
    from clipseed.run.sequence_example import sequence_example_class

    return sequence_example_class()()


# --- writing -------------------------------------------------------------------------


def _check_sound(record: ClipRecord) -> None:
    samples, mel = record.samples, record.log_mel
    if samples.dtype != np.float32 or samples.ndim != 1:
        raise ValueError(f"samples: {samples.dtype} {samples.shape}, not float32 [n]")
    if mel.dtype != np.float32 or mel.ndim != 2 or mel.shape[1] != MEL_BINS:
        raise ValueError(f"log_mel: {mel.dtype} {mel.shape}, not float32 [n, 128]")
    if len(samples) and not len(mel):
        raise ValueError(
            "a clip with sound has no spectrogram: it would read as silent"
        )
    # Written so that NaN fails too.
    if len(samples) and not np.abs(samples).max() <= 1:
        raise ValueError("samples lie outside [-1, 1]; divide int16 by 32768")


def _context(record: ClipRecord) -> dict[str, tuple[str, list]]:
    """Return the kind and the values of each context key."""
    captions = record.captions
    ints = {
        key.LABEL_INDEX: [],
        key.VERSION: [key.LAYOUT_VERSION],
        key.START: [record.start_us],
        key.END: [record.end_us],
        key.VIDEO_DURATION: [record.video_duration_us],
        key.HEIGHT: [record.height_px],
        key.WIDTH: [record.width_px],
        key.SAMPLE_RATE: [record.sample_rate_hz],
        key.MEL_FRAME_COUNT: [len(record.log_mel)],
        key.MATCHED_TIMES: list(record.times_us),
        key.RANK: [caption.rank for caption in captions],
        key.TIME: [caption.time_us for caption in captions],
    }
    floats = {
        key.FPS: [record.fps],
        key.SIMILARITY: [caption.similarity for caption in captions],
    }
    texts = {
        key.LABEL_TEXT: [],
        key.CLIP_ID: [record.clip_id],
        key.VIDEO_ID: [record.video_id],
        key.VIDEO: [record.video],
        key.SOUND_VERDICT: [record.sound_verdict],
        key.EMBEDDER: [record.embedder],
        key.CAPTION: [caption.text for caption in captions],
        key.SEED_ID: [caption.seed_id for caption in captions],
        key.SEED_IMAGE: [caption.seed_image for caption in captions],
    }
    sources = [caption.source for caption in captions]
    if any(source != TRANSFERRED for source in sources):
        texts[key.CAPTION_SOURCE] = sources
    return (
        {name: ("int64_list", values) for name, values in ints.items()}
        | {name: ("float_list", values) for name, values in floats.items()}
        | {
            name: ("bytes_list", [value.encode() for value in values])
            for name, values in texts.items()
        }
    )


def _seconds(log_mel: np.ndarray) -> np.ndarray:
    """Return float32 [seconds, 12800], with silence after the last frame."""
    missing = -len(log_mel) % MEL_FRAMES_PER_S
    if not len(log_mel):
        missing = MEL_FRAMES_PER_S
    silence = np.full((missing, MEL_BINS), np.log(LOG_OFFSET), np.float32)
    return np.concatenate([log_mel, silence]).reshape(-1, MEL_FRAMES_PER_S * MEL_BINS)


def _read_samples(fields: Fields) -> np.ndarray:
    """Return float32 [n], without the silence that is stored for no sound."""
    samples = fields.floats(key.WAVEFORM).reshape(-1)
    return samples if fields.integer(key.MEL_FRAME_COUNT) else samples[:0]


def _read_log_mel(fields: Fields) -> np.ndarray:
    """Return float32 [frames, 128], without what fills the last second."""
    count = fields.integer(key.MEL_FRAME_COUNT)
    flat = fields.floats(key.MEL_SPECTROGRAM).reshape(-1)
    seconds, rest = divmod(len(flat), MEL_FRAMES_PER_S * MEL_BINS)
    # Up to 0.1.0 there was nothing without sound; since then, a second of silence.
    if rest or (count and seconds != -(-count // MEL_FRAMES_PER_S)):
        raise bad_record(
            f"{key.MEL_SPECTROGRAM} has {len(flat)} floats for {count} frames"
        )
    return flat.reshape(-1, MEL_BINS)[:count]


def _read_captions(fields: Fields) -> tuple[Caption, ...]:
    """Return one caption per entry of the parallel lists."""
    columns = (
        fields.texts(key.CAPTION),
        fields.texts(key.SEED_ID),
        fields.texts(key.SEED_IMAGE),
        fields.values(key.SIMILARITY, "float_list"),
        fields.values(key.RANK, "int64_list"),
        fields.values(key.TIME, "int64_list"),
        _read_sources(fields),
    )
    if len({len(column) for column in columns}) > 1:
        raise bad_record("captions and their matches differ in number")
    return tuple(Caption(*row) for row in zip(*columns, strict=True))


def _read_sources(fields: Fields) -> list[str]:
    if key.CAPTION_SOURCE in fields:
        return fields.texts(key.CAPTION_SOURCE)
    return [TRANSFERRED] * len(fields.texts(key.CAPTION))
