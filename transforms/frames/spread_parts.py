"""Parts of videos over the workers: those of one stretch of a remote video together."""

from dataclasses import dataclass

import apache_beam as beam

from clipseed.elements import VideoPart
from clipseed.io import storage

# A remote video is fetched again for each of its stretches of this length; one worker
# decodes a stretch.
_STRETCH_US = 600_000_000


def stretch(part: VideoPart) -> str:
    """Name what one worker decodes: a part of a file that is here, else a stretch.

    Example:
        Of a video in a bucket, the parts from 0 to 10 minutes share a name.
    """
    start_us = part.start_us
    if storage.is_remote(part.video.uri):
        start_us -= start_us % _STRETCH_US
    return f"{part.video.video_id}@{start_us}"


@dataclass(eq=False)
class SpreadParts(beam.PTransform):
    """Spreads parts over the workers, a stretch as a whole to one of them."""

    def expand(self, parts: beam.PCollection) -> beam.PCollection:
        """Group by stretch, and take the groups apart."""
        return (
            parts
            | "KeyByStretch"
            >> beam.Map(lambda part: (stretch(part), part)).with_output_types(
                tuple[str, VideoPart]
            )
            | "Group" >> beam.GroupByKey()
            | "Parts"
            >> beam.FlatMapTuple(lambda _, group: group).with_output_types(VideoPart)
        )
