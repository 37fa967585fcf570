"""The clips of a run directory, record by record, without reading them all.

    clips = open_clips("gs://bucket/run")
    data = clips.read(17)  # a serialized SequenceExample

The manifest (`run.json`) says which files there are; they are checked against it, and
where each record lies is found by the lengths between the records.
"""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from clipseed.errors import InputError
from clipseed.io import storage

FORMAT = "clipseed-run/1"
_MAX_MANIFEST_BYTES = 1 << 28
# A TFRecord: uint64 length, its CRC, the data, its CRC.
_HEAD_BYTES, _TAIL_BYTES = 12, 4


class MissingClip(NamedTuple):
    """A clip that a benchmark names and that could not be cut, or not be encoded.

    Attributes:
        clip_id: its name in the benchmark.
        reason: a stable snake_case name.
        message: what is wrong, in words.
        captions: the queries that ask for it.
    """

    clip_id: str
    reason: str
    message: str
    captions: tuple[str, ...]


class CutBenchmark(NamedTuple):
    """The benchmark that a run was cut of (`transforms.benchmarks.cut`).

    Attributes:
        name: protocol and split, `msr_vtt/test`.
        digest: of its annotations.
        missing: the clips that are not in the run.
    """

    name: str
    digest: str
    missing: tuple[MissingClip, ...]


@dataclass(frozen=True)
class RunClips:
    """Where the records of a run lie.

    Attributes:
        run_dir: local or `gs://`.
        files: URI of each shard.
        places: int64 [n, 3]: shard, offset and size in bytes of each record's data.
        benchmark: that it was cut of; None where it was mined.
    """

    run_dir: str
    files: tuple[str, ...]
    places: np.ndarray
    benchmark: CutBenchmark | None = None

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.places)

    def read(self, number: int) -> bytes:
        """The serialized record of a clip.

        Raises:
            InputError: the file cannot be read any more.
        """
        shard, offset, size = self.places[number].tolist()
        return storage.read_range(self.files[shard], offset, size)

    def name(self, number: int) -> str:
        """Names a record for a message."""
        shard, offset, _ = self.places[number].tolist()
        return f"the record at byte {offset} of {self.files[shard]}"


def open_clips(run_dir: str, verify: bool = True) -> RunClips:
    """Finds the records of a run.

    Args:
        run_dir: what `clipseed mine` wrote, local or `gs://`.
        verify: whether to hold the files against their checksums too, not their sizes
            alone; reads everything once.

    Raises:
        InputError: `no_run`, `damaged_run` with the file's name, or `no_clips`.
    """
    uri = storage.join(run_dir, "run.json")
    try:
        run = json.loads(storage.read_bytes(uri, _MAX_MANIFEST_BYTES))
    except InputError as reject:
        raise InputError(
            "no_run", f"{run_dir} is no finished run: {reject.message}; mine it first"
        ) from reject
    except ValueError as error:
        raise InputError("damaged_run", f"{uri} is no JSON ({error})") from error
    written = run.get("format") if isinstance(run, dict) else None
    if written != FORMAT:
        raise InputError("no_run", f"{uri} has the format {written!r}, not {FORMAT!r}")
    shards = _shards(run, uri)
    places = [_places(run_dir, n, file, verify) for n, file in enumerate(shards)]
    files = tuple(storage.join(run_dir, file["path"]) for file in shards)
    found = np.concatenate([np.zeros((0, 3), np.int64), *places])
    if not len(found):
        raise InputError(
            "no_clips", f"{run_dir} holds no clip; mine with other settings"
        )
    return RunClips(run_dir, files, found, _benchmark(run.get("benchmark")))


def _shards(run: dict[str, Any], uri: str) -> list[dict[str, Any]]:
    """The entries of files with clips."""
    try:
        kinds = {"path": str, "records": int, "bytes": int, "sha256": str}
        for file in run["files"]:
            if any(type(file[name]) is not kind for name, kind in kinds.items()):
                raise TypeError(f"{file} is no file")
    except (KeyError, TypeError) as error:
        raise _damaged(uri, f"its list of files cannot be read ({error})") from error
    return [file for file in run["files"] if file["path"].startswith("clips/")]


def _benchmark(entry: dict[str, Any] | None) -> CutBenchmark | None:
    if entry is None:
        return None
    missing = (
        MissingClip(**clip | {"captions": tuple(clip["captions"])})
        for clip in entry["missing"]
    )
    return CutBenchmark(entry["name"], entry["digest"], tuple(missing))


def _places(
    run_dir: str, number: int, file: dict[str, Any], verify: bool
) -> np.ndarray:
    uri = storage.join(run_dir, file["path"])
    try:
        with storage.localize(uri) as path, open(path, "rb") as opened:
            if verify:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
                if digest != file["sha256"]:
                    raise _damaged(uri, "its checksum is not the manifest's")
            found = list(_scan(opened, file["bytes"], uri))
    except OSError as error:
        raise _damaged(uri, f"it cannot be read ({error.strerror})") from error
    except InputError as reject:
        if reject.reason == "damaged_run":
            raise
        raise _damaged(uri, reject.message) from reject
    if len(found) != file["records"]:
        raise _damaged(uri, f"it has {len(found)} records, not {file['records']}")
    rows = [(number, offset, size) for offset, size in found]
    return np.array(rows, np.int64).reshape(-1, 3)


def _scan(file: BinaryIO, size: int, uri: str) -> Iterator[tuple[int, int]]:
    """Offset and size of each record's data."""
    if file.seek(0, 2) != size:
        raise _damaged(uri, f"it has {file.tell()} bytes, not {size}")
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(_HEAD_BYTES)
        length = struct.unpack("<Q", head[:8])[0] if len(head) == _HEAD_BYTES else size
        at += _HEAD_BYTES
        if at + length + _TAIL_BYTES > size:
            raise _damaged(uri, f"the record at byte {at} is cut off")
        yield at, length
        at += length + _TAIL_BYTES


def _damaged(uri: str, what: str) -> InputError:
    return InputError(
        "damaged_run", f"{uri}: {what}; copy the run again or mine it again"
    )
