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
    """Turns a folder, glob or manifest into the `Video`s that pass the filters.

    Dead letters, including those of filtered videos, have the tag `rejected`.

    Attributes:
        filters: limits that apply where a video's metadata has the value.
    """

    filters: FilterConfig

    def expand(self, places: beam.PCollection) -> Any:
        """List on one worker; only names are shuffled."""
        return places | "List" >> beam.FlatMap(_listed, self.filters).with_output_types(
            Video
        ).with_outputs("rejected", main="videos")


def _listed(place: str, filters: FilterConfig) -> Iterator[Video | Any]:
    for entry in _entries(place):
        dropped = (
            entry if isinstance(entry, DeadLetter) else filter_reason(entry, filters)
        )
        if dropped is None:
            yield entry.video
        else:
            yield beam.pvalue.TaggedOutput("rejected", dropped)


def _entries(place: str) -> Iterator[Any]:
    try:
        yield from list_videos(place)
    except InputError as error:
        yield DeadLetter("list_videos", place, error.reason, error.message)
