"""Writing elements into a fixed number of files, the same bytes in every run.

A shard is written whole by one worker, in sorted order, and appears by a rename. The
number of shards is fixed, so that a rerun replaces every file of the run before.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.typehints import KV, List

from clipseed.hashing import shard_of
from clipseed.run.files import RunFile
from clipseed.run.writer import RunWriter


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
        """Group by hash of the key."""
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
    """`(key, element)` to one file per shard, described as `RunFile`s.

    Attributes:
        writer: of the run.
        folder: of the table.
        num_shards: how many files.
        element_type: of the elements.
        write: `write(local_path, elements)` puts the elements, sorted first, into a
            file and returns the number of records.
    """

    writer: RunWriter
    folder: str
    num_shards: int
    element_type: Any
    write: Callable[[str, Iterable[Any]], int]

    def expand(self, keyed: beam.PCollection) -> beam.PCollection:
        """Group and write."""
        return (
            keyed
            | GroupIntoShards(self.num_shards, self.element_type)
            | "Write" >> beam.MapTuple(self._write_shard)
        )

    def _write_shard(self, shard: int, elements: Iterable[Any]) -> RunFile:
        return self.writer.write_shard(
            self.folder, shard, self.num_shards, lambda path: self.write(path, elements)
        )
