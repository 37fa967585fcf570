"""Writing elements into a fixed number of files, the same bytes in every run.

A shard is written whole by one worker, in sorted order, and appears by a rename. The
number of shards is fixed, so that a rerun replaces every file of the run before.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.typehints import KV, List

from clipseed.io import storage


class WrittenFile(NamedTuple):
    """A file of a run: its path inside the run directory, and what is in it."""

    path: str
    records: int
    bytes: int
    sha256: str


def shard_of(key: str, num_shards: int) -> int:
    """The shard that a key belongs to: by hash, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % num_shards


def shard_name(prefix: str, shard: int, num_shards: int, suffix: str) -> str:
    """A file name in the usual form, such as `clips-00000-of-00010.tfrecord`."""
    return f"{prefix}-{shard:05d}-of-{num_shards:05d}{suffix}"


def describe_file(local_path: str, path: str, records: int) -> WrittenFile:
    """Sizes and checksums a file before it is published."""
    with open(local_path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return WrittenFile(path, records, file.tell(), digest)


@dataclass(eq=False)
class GroupIntoShards(beam.PTransform):
    """`(key, element)` to `(shard, [element, ...])`, empty shards too.

    Attributes:
        num_shards: how many groups come out, whatever comes in.
        element_type: of the elements, for their coder.
    """

    num_shards: int
    element_type: Any

    def expand(self, keyed: beam.PCollection) -> beam.PCollection:
        """Groups by hash of the key."""
        # One type on both sides: CoGroupByKey would pickle what it tags.
        sharded_type = KV[int, self.element_type | None]
        sharded = keyed | "KeyByShard" >> beam.MapTuple(
            lambda key, element, n=self.num_shards: (shard_of(key, n), element)
        ).with_output_types(sharded_type)
        shards = (
            keyed.pipeline
            | "Shards" >> beam.Create(range(self.num_shards), reshuffle=False)
            | "NoElements"
            >> beam.Map(lambda shard: (shard, None)).with_output_types(sharded_type)
        )
        return (
            (sharded, shards)
            | "Both" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Elements"
            >> beam.MapTuple(
                lambda shard, group: (shard, [e for e in group if e is not None])
            ).with_output_types(KV[int, List[self.element_type]])
        )


@dataclass(eq=False)
class WriteShards(beam.PTransform):
    """`(key, element)` to one file a shard; gives `WrittenFile`s.

    Attributes:
        run_dir: the run directory.
        folder: inside it; also the files' prefix.
        suffix: of the files' names.
        num_shards: how many files.
        element_type: of the elements.
        write: `write(local_path, elements)` puts the elements, sorted first, into a
            file and returns the number of records.
    """

    run_dir: str
    folder: str
    suffix: str
    num_shards: int
    element_type: Any
    write: Callable[[str, Iterable[Any]], int]

    def expand(self, keyed: beam.PCollection) -> beam.PCollection:
        """Groups and writes."""
        return (
            keyed
            | GroupIntoShards(self.num_shards, self.element_type)
            | "Write" >> beam.FlatMapTuple(self._write_shard)
        )

    def _write_shard(self, shard: int, elements: Iterable[Any]) -> Iterator[Any]:
        name = shard_name(self.folder, shard, self.num_shards, self.suffix)
        path = f"{self.folder}/{name}"
        with storage.writing(storage.join(self.run_dir, path)) as local_path:
            records = self.write(local_path, elements)
            written = describe_file(local_path, path, records)
        yield written
