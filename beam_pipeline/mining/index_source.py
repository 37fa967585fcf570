"""The index of a run: built in the job, or external, as files or served."""

from typing import NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsSingleton

from beam_pipeline.mining.external_index import ExternalIndex
from beam_pipeline.mining.plan import Plan
from transforms.matches.match import MatchFrames, MatchRemotely
from transforms.seeds.build_index import BuildIndex


class IndexPart(NamedTuple):
    """The part of the graph that an index adds.

    Attributes:
        matcher: turns `EmbeddedChunk`s of frames into `matches` and `audit`.
        manifest: one `IndexManifest`, or none.
        files: collections of the files written.
    """

    matcher: beam.PTransform
    manifest: beam.PCollection
    files: list[beam.PCollection]


def built_index(
    chunks: beam.PCollection, video_parts: beam.PCollection, plan: Plan
) -> IndexPart:
    """Build an index of the seeds' `EmbeddedChunk`s in the job."""
    index = chunks | BuildIndex(plan.build, video_parts)
    matcher = MatchFrames(AsSingleton(index.directory), plan.build.min_similarity)
    return IndexPart(matcher, index.manifest, [index.files])


def external_index(
    pipeline: beam.Pipeline, index: ExternalIndex, min_similarity: float
) -> IndexPart:
    """Match with an index that exists already."""
    manifest = pipeline | "IndexManifest" >> beam.Create([index.manifest])
    if index.client is not None:
        return IndexPart(MatchRemotely(index.client, min_similarity), manifest, [])
    directory = pipeline | "IndexDirectory" >> beam.Create([index.directory])
    return IndexPart(MatchFrames(AsSingleton(directory), min_similarity), manifest, [])
