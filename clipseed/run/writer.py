"""The writer of run directories, local or on Google Cloud Storage.

    writer = RunWriter("run")
    files = [writer.write_clips(0, 1, map(encode, records))]
    files.append(writer.write_pairs_csv(rows))
    writer.finish(RunManifest(tuple(files)))

Every file appears whole, by a rename; `run.json` comes last, so that a directory that
was not finished is never taken for a run.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from clipseed.io import storage
from clipseed.run.files import (
    CLIPS,
    PAIRS_CSV,
    RUN_JSON,
    RunFile,
    describe_file,
    shard_path,
)
from clipseed.run.manifest import RunManifest
from clipseed.run.tables import CsvPair, write_pairs_csv
from clipseed.run.tfrecord import write_records


@dataclass(frozen=True)
class RunWriter:
    """Writes the files of one run.

    Attributes:
        uri: the run directory, local or `gs://`.
    """

    uri: str

    def write_shard(
        self, folder: str, shard: int, shards: int, write: Callable[[str], int]
    ) -> RunFile:
        """Write a shard of a table.

        Args:
            folder: of the table, such as `matches`.
            shard: its number, from 0.
            shards: how many the table has.
            write: writes a local file and returns the number of records.
        """
        return self._write(shard_path(folder, shard, shards), write)

    def write_clips(self, shard: int, shards: int, records: Iterable[bytes]) -> RunFile:
        """Write a shard of serialized clips, in their order."""
        return self.write_shard(
            CLIPS, shard, shards, lambda path: write_records(path, records)
        )

    def write_pairs_csv(self, pairs: Iterable[CsvPair]) -> RunFile:
        """Write `pairs.csv`."""
        return self._write(PAIRS_CSV, lambda path: write_pairs_csv(path, pairs))

    def finish(self, manifest: RunManifest) -> None:
        """Write `run.json`: from now on the directory is a run."""
        text = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False) + "\n"
        storage.write_bytes(storage.join(self.uri, RUN_JSON), text.encode())

    def _write(self, path: str, write: Callable[[str], int]) -> RunFile:
        with storage.writing(storage.join(self.uri, path)) as local_path:
            records = write(local_path)
            return describe_file(local_path, path, records)
