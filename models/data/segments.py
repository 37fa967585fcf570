"""A segment of a clip as TensorFlow cuts it out of a record: frames and spectrogram.

Frames are taken at a stride from a start; a clip too short for that is gone through
from end to end in equal steps (10 s at 25 fps give the paper's 32 frames at stride 8
in place of 14). The spectrogram's segment starts where the frames' does, by the same
rule; a sound of fewer frames than the segment is stretched to it.
"""

import dataclasses
from typing import Any

from clipseed.errors import InputError
from clipseed.run import clip_layout as key
from clipseed.run.clip_layout import LOG_OFFSET, MEL_BINS, MEL_FRAMES_PER_S


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """What a segment is; the defaults are the paper's.

    Attributes:
        frames: of a segment.
        frame_stride: stored frames from one to the next (14 at 25 fps).
        frame_px: height and width.
        spectrogram_frames: of a segment; 0: no sound is read.
        spectrogram_stride: frames of 10 ms from one to the next.
        mel_mean: subtracted from the log-mel; measured, as is the next, on the clips
            with sound that are mined from our test set (-1.56 and 1.72).
        mel_deviation: it is divided by this then.
    """

    frames: int = 32
    frame_stride: int = 14
    frame_px: int = 224
    spectrogram_frames: int = 800
    spectrogram_stride: int = 3
    mel_mean: float = -1.6
    mel_deviation: float = 1.7

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: `bad_segment`.
        """
        least = min(self.frame_stride, self.spectrogram_stride, self.frame_px)
        if min(self.frames, self.spectrogram_frames) < 0 or least < 1:
            raise InputError(
                "bad_segment", f"sizes and strides must be positive: {self}"
            )


def parse(data: Any) -> dict[str, Any]:
    """Parse a serialized record (string scalar) into its tensors.

    TensorFlow stops at a record of another layout, of a spectrogram of another length
    than it says, or with an empty caption; `bad_records.inspect` says what it was.

    Returns:
        `id`, `captions` string [n], `jpegs` string [frames], `log_mel` float32
        [spectrogram frames, 128], `fps`, `verdict`, `layout`.
    """
    import tensorflow as tf

    scalar, many = tf.io.FixedLenFeature, tf.io.VarLenFeature
    context, lists = tf.io.parse_single_sequence_example(
        data,
        {
            key.CLIP_ID: scalar([], tf.string),
            key.VERSION: scalar([], tf.int64),
            key.CAPTION: many(tf.string),
            key.FPS: scalar([], tf.float32),
            key.SOUND_VERDICT: scalar([], tf.string),
            key.MEL_FRAME_COUNT: scalar([], tf.int64),
        },
        {
            key.IMAGE: tf.io.FixedLenSequenceFeature([], tf.string),
            key.MEL_SPECTROGRAM: tf.io.FixedLenSequenceFeature(
                [MEL_FRAMES_PER_S * MEL_BINS], tf.float32
            ),
        },
    )
    captions = tf.sparse.to_dense(context[key.CAPTION])
    seconds = lists[key.MEL_SPECTROGRAM]
    count = context[key.MEL_FRAME_COUNT]
    stored = tf.shape(seconds, tf.int64)[0]
    # Without sound there is a second of silence, or nothing.
    expected = tf.where(count == 0, stored, -(-count // MEL_FRAMES_PER_S))
    as_said = (
        (context[key.VERSION], tf.constant(key.LAYOUT_VERSION, tf.int64)),
        (stored, expected),
        (tf.reduce_any(tf.strings.strip(captions) == ""), False),
    )
    with tf.control_dependencies([tf.debugging.assert_equal(*two) for two in as_said]):
        mel = tf.reshape(seconds, (-1, MEL_BINS))
    return {
        "id": context[key.CLIP_ID],
        "captions": captions,
        "jpegs": lists[key.IMAGE],
        "log_mel": mel[:count],
        "fps": context[key.FPS],
        "verdict": context[key.SOUND_VERDICT],
    }


def indices(count: Any, wanted: int, stride: float, share: Any) -> Any:
    """Return which of `count` frames are in a segment.

    Args:
        count: int scalar, frames that there are, at least 1.
        wanted: frames of the segment.
        stride: from one to the next.
        share: float scalar in [0, 1], where among the possible starts it starts.

    Returns:
        int32 [wanted], rising, from 0 to below `count`.
    """
    import tensorflow as tf

    last = tf.cast(count, tf.float32) - 1
    step = tf.minimum(float(stride), last / max(1, wanted - 1))
    start = share * (last - step * (wanted - 1))
    places = start + step * tf.range(wanted, dtype=tf.float32)
    return tf.cast(tf.clip_by_value(tf.round(places), 0, last), tf.int32)


def pictures(jpegs: Any, chosen: Any) -> Any:
    """Decode the chosen frames: uint8 [n, h, w, 3]."""
    import tensorflow as tf

    return tf.map_fn(
        lambda jpeg: tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE"),
        tf.gather(jpegs, chosen),
        fn_output_signature=tf.uint8,
    )


def frame_places(jpegs: Any, config: SegmentConfig, share: Any) -> Any:
    """Return which frames of a clip are a segment's: int32 [frames]."""
    import tensorflow as tf

    count = tf.maximum(tf.shape(jpegs)[0], 1)
    return indices(count, config.frames, config.frame_stride, share)


def frames(jpegs: Any, config: SegmentConfig, share: Any) -> Any:
    """Return the segment of a clip's frames: uint8 [frames, h, w, 3].

    A clip without frames yields black; its mask says that it is not.
    """
    import tensorflow as tf

    black = tf.io.encode_jpeg(tf.zeros((16, 16, 3), tf.uint8))
    there = tf.cond(tf.shape(jpegs)[0] > 0, lambda: jpegs, lambda: black[None])
    return pictures(there, frame_places(jpegs, config, share))


def spectrogram_places(log_mel: Any, config: SegmentConfig, share: Any) -> Any:
    """Return which spectrogram frames are a segment's: int32 [spectrogram_frames]."""
    import tensorflow as tf

    count = tf.maximum(tf.shape(log_mel)[0], 1)
    stride = config.spectrogram_stride
    return indices(count, config.spectrogram_frames, stride, share)


def spectrogram(log_mel: Any, config: SegmentConfig, share: Any) -> Any:
    """Return the segment of a sound: float32 [spectrogram_frames, 128], normalized.

    A clip without sound yields what silence is; its mask says that it is not.
    """
    import tensorflow as tf

    silence = tf.fill((1, MEL_BINS), tf.math.log(tf.constant(LOG_OFFSET)))
    there = tf.cond(tf.shape(log_mel)[0] > 0, lambda: log_mel, lambda: silence)
    chosen = spectrogram_places(log_mel, config, share)
    return (tf.gather(there, chosen) - config.mel_mean) / config.mel_deviation


def center(images: Any, px: int) -> Any:
    """Return the middle square of frames, resized smoothly: uint8 [n, px, px, 3]."""
    import tensorflow as tf

    height, width = tf.shape(images)[1], tf.shape(images)[2]
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[:, top : top + side, left : left + side]
    return to_bytes(tf.image.resize(square, (px, px), antialias=True))


def to_bytes(images: Any) -> Any:
    """Round floats to uint8, saturated at the ends of its range."""
    import tensorflow as tf

    return tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)
