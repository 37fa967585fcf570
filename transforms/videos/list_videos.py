"""The corpus of a run: its videos, listed and filtered."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from clipseed.elements import Video
from clipseed.errors import DeadLetter, InputError
from transforms.videos.filters import FilterConfig, filter_reason
from transforms.videos.manifest import list_videos


@dataclass(eq=False)
class ListVideos(beam.PTransform):
    """A folder, glob or manifest to the `Video`s that pass the filters.

    Dead letters, filtered videos among them, under the tag `rejected`.

    Attributes:
        filters: what a video must satisfy where its metadata says.
    """

    filters: FilterConfig

    def expand(self, places: beam.PCollection) -> Any:
        """List on one worker; only names travel on."""
        return places | "List" >> beam.FlatMap(_listed, self.filters).with_output_types(
            Video
        ).with_outputs("rejected", main="videos")


def _listed(place: str, filters: FilterConfig) -> Iterator[Video | Any]:
    for entry in _entries(place):
        letter = (
            entry if isinstance(entry, DeadLetter) else filter_reason(entry, filters)
        )
        if letter is None:
            yield entry.video
        else:
            yield beam.pvalue.TaggedOutput("rejected", letter)


def _entries(place: str) -> Iterator[Any]:
    try:
        yield from list_videos(place)
    except InputError as reject:
        yield DeadLetter("list_videos", place, reject.reason, reject.message)
