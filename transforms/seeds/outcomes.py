"""What came of the image of each seed: rows, seeds, dead letters, embeddings."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
from apache_beam import coders
from apache_beam.typehints import List

from clipseed.elements import EmbeddedChunk, Seed
from clipseed.errors import DeadLetter
from clipseed.run.outcomes import SeedOutcome
from transforms.seeds.load_images import SeedBatch


class SeedTraces(NamedTuple):
    """Where seeds leave traces on their way.

    Attributes:
        batches: `SeedBatch`es that were read.
        seeds: `Seed`s that were loaded.
        rejected: dead letters of loading.
        embedded: `EmbeddedChunk`s; None if the job embeds no seeds.
    """

    batches: beam.PCollection
    seeds: beam.PCollection
    rejected: beam.PCollection
    embedded: beam.PCollection | None


class SeedTrace(NamedTuple):
    """One trace of a seed, or the sum of many: see `SeedOutcome`."""

    seed_id: str
    rows: int = 0
    loaded: int = 0
    dropped: int = 0
    embedded: int = 0


_Keyed = tuple[str, SeedTrace]


@dataclass(eq=False)
class AccountForSeeds(beam.PTransform):
    """One `SeedOutcome` per image and name of it.

    Attributes:
        traces: that are joined by the images' references.
    """

    traces: SeedTraces

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Add up what there is of each image."""
        keyed = zip(SeedTraces._fields, self.traces, _KEYED, strict=True)
        traces = [
            trace | f"Key_{name}" >> beam.FlatMap(key).with_output_types(_Keyed)
            for name, trace, key in keyed
            if trace is not None
        ]
        return (
            traces
            | "Traces" >> beam.Flatten()
            | "AddTraces" >> beam.CombinePerKey(_AddFn())
            | "Outcomes" >> beam.FlatMapTuple(_outcomes).with_output_types(SeedOutcome)
        )


class _AddFn(beam.CombineFn):
    """Adds up the traces of a reference: one for each id, "" among them."""

    def create_accumulator(self) -> list[SeedTrace]:
        return []

    def add_input(self, found: list[SeedTrace], trace: SeedTrace) -> list[SeedTrace]:
        return _added([*found, trace])

    def merge_accumulators(self, found: Iterable[list[SeedTrace]]) -> list[SeedTrace]:
        return _added([trace for traces in found for trace in traces])

    def extract_output(self, found: list[SeedTrace]) -> list[SeedTrace]:
        return found

    def get_accumulator_coder(self) -> coders.Coder:
        return coders.registry.get_coder(List[SeedTrace])


def _added(traces: Iterable[SeedTrace]) -> list[SeedTrace]:
    sums: dict[str, list[int]] = {}
    for seed_id, *counts in traces:
        old = sums.get(seed_id, [0] * 4)
        sums[seed_id] = [a + b for a, b in zip(old, counts, strict=True)]
    return [SeedTrace(seed_id, *sums[seed_id]) for seed_id in sorted(sums)]


def _read(batch: SeedBatch) -> Iterator[_Keyed]:
    return ((row.reference, SeedTrace("", rows=1)) for row in batch.rows)


def _loaded(seed: Seed) -> Iterator[_Keyed]:
    yield seed.reference, SeedTrace(seed.seed_id, loaded=1)


def _dropped(dead_letter: DeadLetter) -> Iterator[_Keyed]:
    yield dead_letter.key, SeedTrace("", dropped=1)


def _embedded(chunk: EmbeddedChunk) -> Iterator[_Keyed]:
    return (
        (reference, SeedTrace(seed_id, embedded=1)) for seed_id, reference in chunk.keys
    )


_KEYED = (_read, _loaded, _dropped, _embedded)


def _outcomes(reference: str, traces: Iterable[SeedTrace]) -> Iterator[SeedOutcome]:
    """Yield a row per id; rows are counted for the reference, not for an id."""
    found = list(traces)
    rows = sum(trace.rows for trace in found)
    loaded = sum(trace.loaded for trace in found)
    dropped = sum(trace.dropped for trace in found)
    for seed in [trace for trace in found if trace.seed_id] or [SeedTrace("")]:
        yield SeedOutcome(seed.seed_id, reference, rows, loaded, dropped, seed.embedded)
