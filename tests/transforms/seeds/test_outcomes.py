"""The outcome of each seed image, by its name and its id."""

import apache_beam as beam
import numpy as np
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import EmbeddedChunk, Seed, SeedRow
from clipseed.errors import DeadLetter
from clipseed.run.outcomes import SeedOutcome
from transforms.seeds.load_images import SeedBatch
from transforms.seeds.outcomes import AccountForSeeds, SeedTraces


def batch(name: str, *references: str) -> SeedBatch:
    return SeedBatch(name, [SeedRow(r, f"/{name}/{r}", "caption") for r in references])


def chunk(name: str, *keys: tuple[str, str]) -> EmbeddedChunk:
    return EmbeddedChunk(name, keys, np.zeros((len(keys), 2), np.float32))


BATCHES = [batch("one", "a", "a", "b", "copy of a"), batch("two", "a", "lost", "odd")]
SEEDS = [
    *(Seed("A", "a", "x"), Seed("A", "a", "y"), Seed("A", "copy of a", "z")),
    *(Seed("other A", "a", "x"), Seed("O", "odd", "x")),
]
REJECTED = [DeadLetter("load_seeds", "b", "not_an_image", "It is a text.")]
EMBEDDED = [chunk("one", ("A", "a")), chunk("two", ("other A", "a"))]


def test_each_image_adds_up_by_its_name() -> None:
    elements = BATCHES, SEEDS, REJECTED, EMBEDDED
    with TestPipeline(runner="FnApiRunner") as pipeline:
        traces = (
            pipeline | name >> beam.Create(some)
            for name, some in zip(SeedTraces._fields, elements, strict=True)
        )
        found = pipeline | AccountForSeeds(SeedTraces(*traces))
        wanted = [
            SeedOutcome("A", "a", 3, 3, 0, 1),
            SeedOutcome("other A", "a", 3, 3, 0, 1),
            SeedOutcome("", "b", 1, 0, 1, 0),
            SeedOutcome("A", "copy of a", 1, 1, 0, 0),
            SeedOutcome("", "lost", 1, 0, 0, 0),
            SeedOutcome("O", "odd", 1, 1, 0, 0),
        ]
        assert_that(found, equal_to(wanted))


def test_an_external_index_embeds_none() -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        read, loaded, rejected = (
            pipeline | name >> beam.Create(some)
            for name, some in (("b", BATCHES[:1]), ("s", SEEDS[:3]), ("r", REJECTED))
        )
        traces = SeedTraces(read, loaded, rejected, None)
        ids = pipeline | AccountForSeeds(traces) | beam.Map(lambda row: row.seed_id)
        assert_that(ids, equal_to(["A", "", "A"]))
