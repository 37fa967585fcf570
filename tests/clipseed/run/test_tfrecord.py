"""TFRecord files: the bytes of TensorFlow, and damage."""

import os
from pathlib import Path

import pytest
import tensorflow as tf

from clipseed.errors import InputError
from clipseed.run.tfrecord import read_records, record_places, write_records

RECORDS = [os.urandom(500), b"", b"x" * 70_000]


def test_the_bytes_are_those_of_tensorflow(tmp_path: Path) -> None:
    assert write_records(str(tmp_path / "ours"), RECORDS) == 3
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in RECORDS:
            writer.write(record)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    theirs = tf.data.TFRecordDataset(str(tmp_path / "ours")).as_numpy_iterator()
    assert list(theirs) == RECORDS


def test_the_places_are_where_the_data_is(tmp_path: Path) -> None:
    path = shard(tmp_path)
    with path.open("rb") as file:
        places = list(record_places(file))
    data = path.read_bytes()
    assert [data[at : at + size] for at, size in places] == RECORDS


def shard(tmp_path: Path) -> Path:
    path = tmp_path / "clips-00000-of-00001.tfrecord"
    write_records(str(path), RECORDS)
    return path


def test_records_come_back_in_order(tmp_path: Path) -> None:
    path = str(shard(tmp_path))
    assert list(read_records(path)) == RECORDS


def test_an_empty_shard_has_no_records(tmp_path: Path) -> None:
    path = str(tmp_path / "clips-00000-of-00001.tfrecord")
    write_records(path, [])
    assert list(read_records(path)) == []


@pytest.mark.parametrize("damage", ["flipped byte", "cut short"])
def test_a_damaged_shard_is_refused_after_its_good_records(
    tmp_path: Path, damage: str
) -> None:
    path = shard(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "cut short":
        del data[-100:]
    else:
        data[-100] ^= 1
    path.write_bytes(data)
    records = read_records(str(path))
    assert [next(records), next(records)] == RECORDS[:2]
    with pytest.raises(InputError, match="is damaged") as caught:
        next(records)
    assert caught.value.reason == "damaged_shard"


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.tfrecord") as caught:
        list(read_records(str(tmp_path / "nothing.tfrecord")))
    assert caught.value.reason == "not_found"
