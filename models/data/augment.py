"""What training changes about a segment, the same for the same seed.

All is drawn by stateless random numbers: crop and flip are one for a whole segment,
colors too; the spectrogram gets the masks of SpecAugment (Park et al.).
"""

import dataclasses
from typing import Any

from models.data.segments import to_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How much is changed; the defaults follow MBT (reference/hyperparameters).

    Attributes:
        least_side: the crop's side at least, as a part of the short side.
        flip: whether segments are mirrored half of the time. Wrong where captions say
            left and right.
        color: how far brightness, contrast and saturation go; 0: not at all.
        color_share: part of the segments whose colors are changed.
        frequency_masks: of a spectrogram.
        frequency_bins: a mask's width at most.
        time_masks: of a spectrogram.
        time_frames: a mask's width at most.
    """

    least_side: float = 0.75
    flip: bool = True
    color: float = 0.4
    color_share: float = 0.8
    frequency_masks: int = 1
    frequency_bins: int = 48
    time_masks: int = 4
    time_frames: int = 48


def augment_pictures(images: Any, px: int, config: AugmentConfig, seed: Any) -> Any:
    """Return a random square of the frames, mirrored and recolored.

    Args:
        images: uint8 [n, h, w, 3].
        px: height and width of the result.
        config: see `AugmentConfig`.
        seed: int [2].

    Returns:
        uint8 [n, px, px, 3].
    """
    import tensorflow as tf

    numbers = tf.random.stateless_uniform((5,), seed)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    short = tf.cast(tf.minimum(height, width), tf.float32)
    part = config.least_side + (1 - config.least_side) * numbers[0]
    side = tf.cast(tf.round(short * part), tf.int32)
    top = tf.cast(numbers[1] * tf.cast(height - side + 1, tf.float32), tf.int32)
    left = tf.cast(numbers[2] * tf.cast(width - side + 1, tf.float32), tf.int32)
    changed = _resize(images[:, top : top + side, left : left + side], px)
    # Conditions, not tf.where: what is not wanted is not computed.
    if config.flip:
        changed = tf.cond(
            numbers[3] < 0.5, lambda: tf.reverse(changed, axis=[2]), lambda: changed
        )
    if config.color:
        changed = tf.cond(
            numbers[4] < config.color_share,
            lambda: _recolor(changed, config.color, seed),
            lambda: changed,
        )
    return to_bytes(changed)


def _resize(squares: Any, px: int) -> Any:
    """Resize uint8 [n, side, side, 3] to float32 [n, px, px, 3], in [0, 255].

    A side above one and a half times `px` is smoothed. Up to that plain bilinear
    interpolation reads every pixel too, in a quarter of the time.
    """
    import tensorflow as tf

    def resize(smoothing: bool) -> Any:
        return tf.image.resize(squares, (px, px), antialias=smoothing)

    shrinks = tf.shape(squares)[1] > px * 3 // 2
    return tf.cond(shrinks, lambda: resize(True), lambda: resize(False))


def _recolor(images: Any, most: float, seed: Any) -> Any:
    """Brightness, contrast and saturation, each by a factor of its own.

    In this order, saturation about each pixel's mean and contrast about that of all:
    together one linear map of each pixel's colors, which is what is computed.
    """
    import tensorflow as tf

    factors = tf.random.stateless_uniform((3,), seed + 1, 1 - most, 1 + most)
    brightness, saturation, contrast = tf.unstack(factors)
    mixing = saturation * tf.eye(3) + (1 - saturation) / 3
    mean = brightness * tf.reduce_mean(images)
    mixed = tf.reshape(images, (-1, 3)) @ (brightness * contrast * mixing)
    return tf.reshape(mixed + (1 - contrast) * mean, tf.shape(images))


def mask_spectrogram(spectrogram: Any, config: AugmentConfig, seed: Any) -> Any:
    """Blank bands of frequencies and stretches of time with the mean.

    Args:
        spectrogram: float32 [frames, mels], normalized: its mean is about 0.
        config: see `AugmentConfig`.
        seed: int [2].
    """
    import tensorflow as tf

    plans = (
        (config.time_masks, config.time_frames, 0),
        (config.frequency_masks, config.frequency_bins, 1),
    )
    for count, widest, axis in plans:
        length = tf.shape(spectrogram)[axis]
        for number in range(count):
            one = seed + tf.constant([axis + 2, number], seed.dtype)
            draws = tf.random.stateless_uniform((2,), one)
            most = tf.cast(tf.minimum(widest, length), tf.float32)
            width = tf.cast(draws[0] * (most + 1), tf.int32)
            room = tf.cast(length - width + 1, tf.float32)
            start = tf.cast(draws[1] * room, tf.int32)
            place = tf.range(length)
            kept = (place < start) | (place >= start + width)
            kept = kept[:, None] if axis == 0 else kept[None, :]
            spectrogram = tf.where(kept, spectrogram, 0.0)
    return spectrogram
