"""Where a run's index comes from: built in the job, given as files, or served."""

from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from beam_pipeline.mining.external_index import ExternalIndex
from beam_pipeline.mining.plan import Plan
from transforms.matches.match import MatchFrames, MatchRemotely
from transforms.seeds.build_index import BuildIndex


class IndexPart(NamedTuple):
    """What the graph needs of an index.

    Attributes:
        matcher: `EmbeddedChunk` of frames to `matches` and `audit`.
        manifest: one `IndexManifest`, or none.
        files: what was written, in collections.
    """

    matcher: beam.PTransform
    manifest: beam.PCollection
    files: list[beam.PCollection]


def built_index(
    chunks: beam.PCollection, spans: beam.PCollection, plan: Plan
) -> IndexPart:
    """An index of the seeds' `EmbeddedChunk`s."""
    index = chunks | BuildIndex(plan.build, spans)
    matcher = MatchFrames(AsSingleton(index.directory), plan.build.min_similarity)
    return IndexPart(matcher, index.manifest, [index.files])


def given_index(
    pipeline: beam.Pipeline, given: ExternalIndex, min_similarity: float
) -> IndexPart:
    """An index that is there already."""
    manifest = pipeline | "IndexManifest" >> beam.Create([given.manifest])
    if given.client is not None:
        return IndexPart(MatchRemotely(given.client, min_similarity), manifest, [])
    directory = pipeline | "IndexDirectory" >> beam.Create([given.directory])
    return IndexPart(MatchFrames(AsSingleton(directory), min_similarity), manifest, [])
