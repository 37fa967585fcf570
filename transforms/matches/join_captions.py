"""Where a seed's captions and its best matches meet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from clipseed.elements import Match, Seed
from transforms.matches.pairs import Selected, select

# One of the two; Beam's CoGroupByKey would tag them, and pickle what it tagged.
_Side = tuple[Seed | None, list[Match] | None]


@dataclass(eq=False)
class JoinCaptions(beam.PTransform):
    """`(seed_id, [Match, ...])` to `Selected`, each match with each caption.

    Ids of seeds that match and have no caption (a given index may hold more seeds than
    are mined for) come out under the tag `uncaptioned`.

    Attributes:
        seeds: `Seed`s, one a caption.
    """

    seeds: beam.PCollection

    def expand(self, best: beam.PCollection) -> Any:
        """Joins by seed."""
        captions = self.seeds | "Captions" >> beam.Map(
            lambda seed: (seed.seed_id, (seed, None))
        ).with_output_types(tuple[str, _Side])
        matches = best | "Matches" >> beam.MapTuple(
            lambda seed_id, matches: (seed_id, (None, matches))
        ).with_output_types(tuple[str, _Side])
        return (
            (captions, matches)
            | "Both" >> beam.Flatten()
            | "BySeed" >> beam.GroupByKey()
            | "Select"
            >> beam.FlatMapTuple(_select)
            .with_output_types(Selected)
            .with_outputs("uncaptioned", main="selected")
        )


def _select(seed_id: str, sides: Iterable[_Side]) -> Iterator[Any]:
    seeds, matches = zip(*sides, strict=True)
    captions = [(seed.reference, seed.caption) for seed in seeds if seed is not None]
    found = [best for best in matches if best is not None]
    if found and not captions:
        yield beam.pvalue.TaggedOutput("uncaptioned", seed_id)
    yield from select(seed_id, captions, found)
