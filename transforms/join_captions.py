"""Where a seed's captions and its best matches meet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam

from transforms.clips import Selected, select
from transforms.elements import Match, Seed

# One of the two; Beam's CoGroupByKey would tag them, and pickle what it tagged.
_Side = tuple[Seed | None, list[Match] | None]


@dataclass(eq=False)
class JoinCaptions(beam.PTransform):
    """`(seed_id, [Match, ...])` to `Selected`, each match with each caption.

    Attributes:
        seeds: `Seed`s, one a caption.
    """

    seeds: beam.PCollection

    def expand(self, best: beam.PCollection) -> beam.PCollection:
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
            | "Select" >> beam.FlatMapTuple(_select).with_output_types(Selected)
        )


def _select(seed_id: str, sides: Iterable[_Side]) -> Iterator[Selected]:
    seeds, matches = zip(*sides, strict=True)
    captions = [(seed.reference, seed.caption) for seed in seeds if seed is not None]
    return select(seed_id, captions, [best for best in matches if best is not None])
