"""Spreading parts of videos over workers, those of a remote video by the stretch."""

from dataclasses import dataclass

import apache_beam as beam

from clipseed.elements import Span
from clipseed.io import storage

# A remote video is fetched anew for each of its stretches of this length; one worker
# decodes a stretch.
_STRETCH_US = 600_000_000


def stretch(span: Span) -> str:
    """Names what one worker decodes: a part of a file that is here, else a stretch.

    Example:
        Of a video in a bucket, the parts from 0 to 10 minutes share a name.
    """
    start_us = span.start_us
    if storage.is_remote(span.video.uri):
        start_us -= start_us % _STRETCH_US
    return f"{span.video.video_id}@{start_us}"


@dataclass(eq=False)
class SpreadSpans(beam.PTransform):
    """`Span`s to the same `Span`s on any worker, those of a stretch one by one."""

    def expand(self, spans: beam.PCollection) -> beam.PCollection:
        """Groups by stretch."""
        return (
            spans
            | "KeyByStretch"
            >> beam.Map(lambda span: (stretch(span), span)).with_output_types(
                tuple[str, Span]
            )
            | "Group" >> beam.GroupByKey()
            | "Parts"
            >> beam.FlatMapTuple(lambda _, parts: parts).with_output_types(Span)
        )
