"""Read the seeds of a run: rows in batches, ready to be loaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from clipseed.elements import SeedRow
from clipseed.errors import DeadLetter, InputError
from clipseed.hashing import content_id
from transforms.seeds.formats import SeedsConfig, read_seeds
from transforms.seeds.load_images import SeedBatch, batches

# Rows loaded and embedded together: at most 38 MB of pixels.
_BATCH = 256


@dataclass(eq=False)
class ReadSeeds(beam.PTransform):
    """Turns seeds files into `SeedBatch`es; dead letters have the tag `rejected`.

    Attributes:
        config: how to read the files.
    """

    config: SeedsConfig

    def expand(self, files: beam.PCollection) -> Any:
        """Read each file on one worker; rows are shuffled, images are not."""
        return files | "ReadRows" >> beam.FlatMap(_read, self.config).with_output_types(
            SeedBatch
        ).with_outputs("rejected", main="batches")


def _read(uri: str, config: SeedsConfig) -> Iterator[Any]:
    rejected: list[DeadLetter] = []

    def rows() -> Iterator[SeedRow]:
        try:
            for row in read_seeds(uri, config):
                if isinstance(row, DeadLetter):
                    rejected.append(row)
                else:
                    yield row
        except InputError as error:
            rejected.append(DeadLetter("read_seeds", uri, error.reason, error.message))

    name = content_id(uri)
    for batch in batches(rows(), name, _BATCH):
        yield batch
        yield from _drain(rejected)
    yield from _drain(rejected)


def _drain(rejected: list[DeadLetter]) -> Iterator[Any]:
    while rejected:
        yield beam.pvalue.TaggedOutput("rejected", rejected.pop(0))
