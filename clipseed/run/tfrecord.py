"""TFRecord files without TensorFlow: length, its CRC, the data, its CRC.

    write_records("clips.tfrecord", [b"one", b"two"])
    list(read_records("clips.tfrecord"))  # [b"one", b"two"]

The bytes are those of `tf.io.TFRecordWriter` without compression.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from clipseed.errors import InputError
from clipseed.io import storage

_LENGTH, _CRC = struct.Struct("<Q"), struct.Struct("<I")
_HEAD_BYTES = _LENGTH.size + _CRC.size
# TFRecord stores CRC-32C rotated and shifted, as a CRC of data with CRCs in it is weak.
_MASK_DELTA = 0xA282EAD8


def write_records(path: str, records: Iterable[bytes]) -> int:
    """Write serialized records, in their order, to a local file.

    Returns:
        The number of records.
    """
    count = 0
    with open(path, "wb") as file:
        for record in records:
            length = _LENGTH.pack(len(record))
            file.write(length + _CRC.pack(_masked_crc(length)))
            file.write(record)
            file.write(_CRC.pack(_masked_crc(record)))
            count += 1
    return count


def read_records(path: str) -> Iterator[bytes]:
    """Yield the serialized records of a file, local or `gs://`; check each CRC.

    Raises:
        InputError: `damaged_shard`, after the records before the damage; `not_found`.
    """
    with storage.open_binary(path) as file:
        at = 0
        while head := file.read(_HEAD_BYTES):
            size = _size(head, f"the length at byte {at}", path)
            data, crc = file.read(size), file.read(_CRC.size)
            _check(data, crc, f"the record at byte {at}", path)
            yield data
            at = file.tell()


def record_places(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the offset and the size of each record's data; read only the lengths.

    Raises:
        ValueError: a record is cut off.
    """
    end = file.seek(0, os.SEEK_END)
    at = 0
    while at < end:
        file.seek(at)
        head = file.read(_HEAD_BYTES)
        size = _LENGTH.unpack(head[:8])[0] if len(head) == _HEAD_BYTES else end
        at += _HEAD_BYTES
        if at + size + _CRC.size > end:
            raise ValueError(f"the record at byte {at} is cut off")
        yield at, size
        at += size + _CRC.size


def _size(head: bytes, what: str, path: str) -> int:
    _check(head[: _LENGTH.size], head[_LENGTH.size :], what, path)
    return _LENGTH.unpack(head[: _LENGTH.size])[0]


def _check(data: bytes, crc: bytes, what: str, path: str) -> None:
    if len(crc) != _CRC.size:
        problem = f"{what} is cut off"
    elif _CRC.unpack(crc)[0] != _masked_crc(data):
        problem = f"{what} has another checksum than was written"
    else:
        return
    raise InputError(
        "damaged_shard",
        f"{os.path.basename(path)} is damaged ({problem}); copy it again, or run the "
        "job again.",
    )


def _masked_crc(data: bytes) -> int:
    import google_crc32c

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
