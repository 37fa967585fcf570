"""The clips of a run directory, record by record, without reading them all.

    clips = Run.open("gs://bucket/run").open_clips()
    data = clips.read(17)  # a serialized SequenceExample

Where each record lies is found by the lengths between the records.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipseed.errors import InputError
from clipseed.hashing import checksum
from clipseed.io import storage
from clipseed.run.files import RunFile
from clipseed.run.manifest import CutBenchmark
from clipseed.run.tfrecord import record_places


@dataclass(frozen=True)
class RunClips:
    """Where the records of a run lie.

    Attributes:
        run_dir: local or `gs://`.
        files: URI of each shard.
        places: int64 [n, 3]: shard, offset and size in bytes of each record's data.
        benchmark: that the run was cut from; None if it was mined.
    """

    run_dir: str
    files: tuple[str, ...]
    places: np.ndarray
    benchmark: CutBenchmark | None = None

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.places)

    def read(self, number: int) -> bytes:
        """Return the serialized record of a clip.

        Raises:
            InputError: the file can no longer be read.
        """
        shard, offset, size = self.places[number].tolist()
        return storage.read_range(self.files[shard], offset, size)

    def name(self, number: int) -> str:
        """Return a name of a record for a message."""
        shard, offset, _ = self.places[number].tolist()
        return f"the record at byte {offset} of {self.files[shard]}"


def find_records(
    run_dir: str, files: Sequence[RunFile], verify_checksums: bool
) -> np.ndarray:
    """Return int64 [n, 3]: shard, offset and size in bytes of each record's data.

    Args:
        run_dir: local or `gs://`.
        files: the shards of `clips/`.
        verify_checksums: whether to compare checksums too, which reads every byte.

    Raises:
        InputError: `damaged_run`, naming the file.
    """
    found = [
        _places(storage.join(run_dir, file.path), number, file, verify_checksums)
        for number, file in enumerate(files)
    ]
    return np.concatenate([np.zeros((0, 3), np.int64), *found])


def _damaged(uri: str, problem: str) -> InputError:
    return InputError(
        "damaged_run", f"{uri}: {problem}; copy the run again or mine it again"
    )


def _places(uri: str, number: int, file: RunFile, verify: bool) -> np.ndarray:
    try:
        with storage.localize(uri) as path, open(path, "rb") as opened:
            size = os.path.getsize(path)
            if size != file.bytes:
                raise _damaged(uri, f"it has {size} bytes, not {file.bytes}")
            if verify and checksum(path) != file.sha256:
                raise _damaged(uri, "its checksum is not the manifest's")
            found = list(record_places(opened))
    except ValueError as error:
        raise _damaged(uri, str(error)) from error
    except OSError as error:
        raise _damaged(uri, f"it cannot be read ({error.strerror})") from error
    except InputError as error:
        if error.reason == "damaged_run":
            raise
        raise _damaged(uri, error.message) from error
    if len(found) != file.records:
        raise _damaged(uri, f"it has {len(found)} records, not {file.records}")
    rows = [(number, offset, size) for offset, size in found]
    return np.array(rows, np.int64).reshape(-1, 3)
