"""Where the captions of a seed and its selected matches meet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam

from clipseed.elements import ClipCaption, Match, Seed
from transforms.matches.pairs import caption_matches

# One of the two; Beam's CoGroupByKey would tag them, and pickle what it tagged.
_Side = tuple[Seed | None, list[Match] | None]


class JoinedCaptions(NamedTuple):
    """What comes out of `JoinCaptions`.

    Attributes:
        matches: `ClipCaption`es, each match with each caption of its seed.
        uncaptioned: ids of seeds that match and have no caption: an external index
            may hold more seeds than are mined for.
    """

    matches: beam.PCollection
    uncaptioned: beam.PCollection


@dataclass(eq=False)
class JoinCaptions(beam.PTransform):
    """`(seed_id, [Match, ...])` to `JoinedCaptions`.

    Attributes:
        seeds: `Seed`s, one per caption.
    """

    seeds: beam.PCollection

    def expand(self, best: beam.PCollection) -> Any:
        """Join by seed."""
        captions = self.seeds | "Captions" >> beam.Map(
            lambda seed: (seed.seed_id, (seed, None))
        ).with_output_types(tuple[str, _Side])
        matches = best | "Matches" >> beam.MapTuple(
            lambda seed_id, matches: (seed_id, (None, matches))
        ).with_output_types(tuple[str, _Side])
        joined = (
            (captions, matches)
            | "Both" >> beam.Flatten()
            | "BySeed" >> beam.GroupByKey()
            | "Caption"
            >> beam.FlatMapTuple(_caption)
            .with_output_types(ClipCaption)
            .with_outputs("uncaptioned", main="matches")
        )
        return JoinedCaptions(joined.matches, joined.uncaptioned)


def _caption(seed_id: str, sides: Iterable[_Side]) -> Iterator[Any]:
    seeds, matches = zip(*sides, strict=True)
    captions = [(seed.reference, seed.caption) for seed in seeds if seed is not None]
    found = [best for best in matches if best is not None]
    if found and not captions:
        yield beam.pvalue.TaggedOutput("uncaptioned", seed_id)
    yield from caption_matches(seed_id, captions, found)
