"""The record codec: round trip, the readers of Scenic and DMVR, damage."""

import dataclasses
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from clipseed.elements import ASR
from clipseed.errors import InputError
from clipseed.run.clip_layout import LOG_OFFSET
from clipseed.run.clip_record import Caption, ClipRecord, decode, encode
from clipseed.run.files import CLIPS, shard_path
from clipseed.run.sequence_example import sequence_example_class
from transforms.media.images import encode_jpeg

RNG = np.random.default_rng(0)
FRAMES = tuple(
    encode_jpeg(RNG.integers(0, 256, (36, 64, 3), dtype=np.uint8), 90) for _ in range(5)
)
CAPTIONS = (
    Caption(
        "a dog \u2014 with a\ttab, \u201cquotes\u201d",
        "s1",
        "a/1.jpg",
        0.75,
        1,
        7_000_001,
    ),
    Caption("un chien \U0001f415", "s2", "b/2.jpg", 0.6000000238418579, 10, 8_000_000),
)
RECORD = ClipRecord(
    clip_id="c0ffee",
    video_id="v1",
    video="videos/dog.mp4",
    video_duration_us=60_000_000,
    start_us=2_000_000,
    end_us=4_300_000,
    frames=FRAMES,
    fps=25.0,
    height_px=36,
    width_px=64,
    sound_verdict="ok",
    samples=RNG.uniform(-1, 1, 36_800).astype(np.float32),
    sample_rate_hz=16_000,
    log_mel=RNG.normal(0, 2, (230, 128)).astype(np.float32),
    captions=CAPTIONS,
    embedder="descriptor",
)
SOUNDLESS = dataclasses.replace(
    RECORD,
    sound_verdict="none",
    samples=np.zeros(0, np.float32),
    log_mel=np.zeros((0, 128), np.float32),
)


@pytest.mark.parametrize("record", [RECORD, SOUNDLESS], ids=["sound", "soundless"])
def test_round_trip_is_exact(record: ClipRecord) -> None:
    got = decode(encode(record))
    for field in dataclasses.fields(ClipRecord):
        value, expected = getattr(got, field.name), getattr(record, field.name)
        if isinstance(expected, np.ndarray):
            assert (value.dtype, value.shape) == (expected.dtype, expected.shape)
            np.testing.assert_array_equal(value, expected)
        else:
            assert value == expected, field.name


def test_sources_are_written_where_one_is_not_transferred() -> None:
    mixed = (CAPTIONS[0], CAPTIONS[1]._replace(source=ASR))
    data = encode(dataclasses.replace(RECORD, captions=mixed))
    assert decode(data).captions == mixed
    assert b"caption/source" in data and b"caption/source" not in encode(RECORD)


def test_bytes_are_deterministic() -> None:
    assert encode(RECORD) == encode(dataclasses.replace(RECORD))
    assert encode(decode(encode(RECORD))) == encode(RECORD)


@pytest.mark.parametrize("record", [RECORD, SOUNDLESS], ids=["sound", "soundless"])
def test_tensorflow_would_write_the_same_bytes(record: ClipRecord) -> None:
    example = tf.train.SequenceExample.FromString(encode(record))
    assert example.SerializeToString(deterministic=True) == encode(record)
    built = tf.train.SequenceExample()
    built.CopyFrom(example)  # every value, one by one, through TensorFlow's messages
    for name, feature in example.context.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value)
        getattr(built.context.feature[name], kind).value[:] = values
    assert built.SerializeToString(deterministic=True) == encode(record)


def test_the_messages_are_described_as_tensorflow_describes_them() -> None:
    """Every field of every message: name, number, type, label and oneof."""

    def fields(message: Any) -> dict[str, Any]:
        return {
            field.name: (
                field.number,
                field.type,
                field.is_repeated,
                field.containing_oneof and field.containing_oneof.name,
                field.message_type and fields(field.message_type),
            )
            for field in message.fields
        }

    ours = fields(sequence_example_class().DESCRIPTOR)
    assert ours == fields(tf.train.SequenceExample.DESCRIPTOR)
    assert set(ours) == {"context", "feature_lists"}


def test_frames_are_decoded_as_they_were_encoded() -> None:
    frames = RECORD.decode_frames()
    assert (frames.shape, frames.dtype) == ((5, 36, 64, 3), np.uint8)
    for jpeg, frame in zip(FRAMES, frames, strict=True):
        theirs = tf.io.decode_jpeg(jpeg, dct_method="INTEGER_ACCURATE").numpy()
        np.testing.assert_array_equal(frame, theirs)
    nothing = dataclasses.replace(RECORD, frames=()).decode_frames()
    assert (nothing.shape, nothing.dtype) == ((0, 36, 64, 3), np.uint8)


CONTEXT = {
    "caption/string": tf.io.VarLenFeature(tf.string),
    "clip/label/index": tf.io.VarLenFeature(tf.int64),
    "clip/label/text": tf.io.VarLenFeature(tf.string),
    "clip/start/timestamp": tf.io.FixedLenFeature([], tf.int64),
    "clip/end/timestamp": tf.io.FixedLenFeature([], tf.int64),
    "video/filename": tf.io.FixedLenFeature([], tf.string),
    "videoid": tf.io.VarLenFeature(tf.string),
    "video/duration": tf.io.VarLenFeature(tf.int64),
}
SEQUENCE = {
    "image/encoded": tf.io.FixedLenSequenceFeature([], tf.string),
    "WAVEFORM/feature/floats": tf.io.VarLenFeature(tf.float32),
    "melspec/feature/floats": tf.io.FixedLenSequenceFeature([12_800], tf.float32),
}


def test_readers_of_dmvr_and_scenic_parse_it() -> None:
    context, sequence = tf.io.parse_single_sequence_example(
        encode(RECORD), CONTEXT, SEQUENCE
    )
    texts = [text.decode() for text in context["caption/string"].values.numpy()]
    assert texts == [caption.text for caption in CAPTIONS]
    assert context["clip/label/index"].values.shape == (0,)
    assert context["clip/label/text"].values.shape == (0,)
    assert context["clip/start/timestamp"].numpy() == 2_000_000
    assert context["clip/end/timestamp"].numpy() == 4_300_000
    assert context["video/filename"].numpy() == b"videos/dog.mp4"
    assert context["video/duration"].values.numpy().tolist() == [60_000_000]
    assert tuple(sequence["image/encoded"].numpy()) == FRAMES
    waveform = tf.sparse.to_dense(sequence["WAVEFORM/feature/floats"]).numpy()
    np.testing.assert_array_equal(waveform, RECORD.samples[np.newaxis])
    mel = sequence["melspec/feature/floats"].numpy().reshape(-1, 128)
    np.testing.assert_array_equal(mel[:230], RECORD.log_mel)
    np.testing.assert_array_equal(
        mel[230:], np.full((70, 128), np.log(LOG_OFFSET), "f4")
    )


def test_a_known_length_of_sound_is_parsed_as_one_step() -> None:
    features = {
        "WAVEFORM/feature/floats": tf.io.FixedLenSequenceFeature([36_800], tf.float32)
    }
    _, sequence = tf.io.parse_single_sequence_example(
        encode(RECORD), sequence_features=features
    )
    assert sequence["WAVEFORM/feature/floats"].shape == (1, 36_800)


def test_a_batch_of_clips_with_and_without_sound_is_parsed() -> None:
    context, sequence, lengths = tf.io.parse_sequence_example(
        [encode(RECORD), encode(SOUNDLESS)], CONTEXT, SEQUENCE
    )
    assert sequence["image/encoded"].shape == (2, 5)
    assert lengths["melspec/feature/floats"].numpy().tolist() == [3, 1]
    assert context["caption/string"].dense_shape.numpy().tolist() == [2, 2]


# What the readers of DMVR (`add_audio`, `add_image`) and Scenic (`add_spectrogram`) do,
# as they are documented: parse; densify, one step of sound; take `wanted` entries from
# the middle, the sequence repeated where it is shorter.


def sample_middle(sequence: tf.Tensor, wanted: int) -> tf.Tensor:
    length = tf.shape(sequence)[0]
    offset = tf.maximum(0, (length - wanted) // 2)
    repeats = tf.math.floordiv(wanted + offset + length - 1, length)
    places = tf.tile(tf.range(length), [repeats])
    return tf.gather(sequence, tf.gather(places, tf.range(offset, offset + wanted)))


def as_dmvr_reads(data: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sound [30720], spectrogram [500, 128] and 32 JPEGs."""
    features = {
        "image/encoded": tf.io.FixedLenSequenceFeature([], tf.string),
        "WAVEFORM/feature/floats": tf.io.VarLenFeature(tf.float32),
        "melspec/feature/floats": tf.io.FixedLenSequenceFeature([100, 128], tf.float32),
    }
    _, lists = tf.io.parse_single_sequence_example(data, sequence_features=features)
    sound = tf.sparse.to_dense(lists["WAVEFORM/feature/floats"])[0]
    mel = tf.reshape(lists["melspec/feature/floats"], (-1, 128))
    return (
        sample_middle(sound, 30_720).numpy(),
        sample_middle(mel, 500).numpy(),
        sample_middle(lists["image/encoded"], 32).numpy(),
    )


def test_dmvr_samples_clips_with_and_without_sound() -> None:
    sound, mel, jpegs = as_dmvr_reads(encode(RECORD))
    start = (36_800 - 30_720) // 2
    np.testing.assert_array_equal(sound, RECORD.samples[start : start + 30_720])
    np.testing.assert_array_equal(mel[:230], RECORD.log_mel)
    assert set(jpegs) == set(FRAMES)

    sound, mel, jpegs = as_dmvr_reads(encode(SOUNDLESS))
    np.testing.assert_array_equal(sound, np.zeros(30_720, np.float32))
    np.testing.assert_array_equal(mel, np.full((500, 128), np.log(LOG_OFFSET), "f4"))
    assert set(jpegs) == set(FRAMES)


def test_records_without_anything_for_sound_are_still_read() -> None:
    example = tf.train.SequenceExample.FromString(encode(SOUNDLESS))
    for name in ("WAVEFORM/feature/floats", "melspec/feature/floats"):
        del example.feature_lists.feature_list[name].feature[:]
    old = decode(example.SerializeToString())
    assert old.samples.shape == (0,) and old.log_mel.shape == (0, 128)


def test_scenic_addresses_the_shards_of_a_run() -> None:
    """`clips@8.tfrecord` is its pattern: NAME@SHARDS.SUFFIX."""
    name, shards, suffix = re.fullmatch(
        r"(.*)@(\d*[1-9]\d*)(?:\.(.+))?", "clips/clips@8.tfrecord"
    ).groups()  # type: ignore[union-attr]
    expected = [f"{name}-{i:05d}-of-{int(shards):05d}.{suffix}" for i in range(8)]
    assert [shard_path(CLIPS, i, 8) for i in range(8)] == expected


def without(key: str) -> bytes:
    example = tf.train.SequenceExample.FromString(encode(RECORD))
    if key in example.context.feature:
        del example.context.feature[key]
    else:
        del example.feature_lists.feature_list[key]
    return example.SerializeToString()


def all_keys() -> list[str]:
    example = tf.train.SequenceExample.FromString(encode(RECORD))
    keys = [*example.context.feature, *example.feature_lists.feature_list]
    return sorted(key for key in keys if not key.startswith("clip/label/"))


@pytest.mark.parametrize("key", all_keys())
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(InputError, match=key) as caught:
        decode(without(key))
    assert caught.value.reason == "bad_record"


def spoilt(key: str) -> bytes:
    example = tf.train.SequenceExample.FromString(encode(RECORD))
    if key == "clip/layout_version":
        example.context.feature[key].int64_list.value[0] = 2
    elif key == "caption/string":
        example.context.feature[key].bytes_list.value[0] = b"\xff"
    elif key == "match/rank":
        example.context.feature[key].int64_list.value.append(3)
    elif key == "image/fps":
        example.context.feature[key].int64_list.value.append(25)
    else:
        del example.feature_lists.feature_list[key].feature[-1]
    return example.SerializeToString()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("clip/layout_version", "layout is 2"),
        ("caption/string", "not UTF-8"),
        ("match/rank", "differ in number"),
        ("image/fps", "int64_list, not a float_list"),
        ("melspec/feature/floats", "25600 floats for 230 frames"),
    ],
)
def test_wrong_values_are_named(key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(spoilt(key))


def test_bytes_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="not a SequenceExample"):
        decode(b"\x0a\xff\xff not a record")


@pytest.mark.parametrize(
    "change",
    [
        {"samples": np.full(10, 1.5, np.float32)},
        {"samples": np.full(10, np.nan, np.float32)},
        {"samples": np.zeros(10, np.int16)},
        {"log_mel": np.zeros((10, 64), np.float32)},
        {"log_mel": np.zeros((0, 128), np.float32)},
    ],
)
def test_sound_that_readers_would_misread_is_not_written(change: dict) -> None:
    with pytest.raises(ValueError):
        encode(dataclasses.replace(RECORD, **change))


def test_readers_need_no_pipeline() -> None:
    heavy = "{'apache_beam', 'av', 'google.protobuf', 'jax', 'pyarrow', 'tensorflow'}"
    code = (
        f"import sys, clipseed.run.clip_record as c; print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
