"""Which matches become clips: above τ, the best of each seed (paper, 3.1, step 3).

    select_matches(matches_of_a_seed, Selection(0.6, top_k=10, min_gap_us=10_000_000))

The threshold, the number per seed and the gap are applied here and nowhere else: by the
graph (`SelectMatches`) and for the ranks in `matches/` (`rank_matches`).
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import coders
from apache_beam.typehints import List

from clipseed.elements import Match, RankedMatch
from clipseed.run.accounting import (
    BELOW_THRESHOLD,
    MATCHES,
    NOT_AMONG_THE_BEST,
    SEEDS_MATCHED,
    SELECTED,
)
from transforms.tally import Tally


@dataclass(frozen=True)
class Selection:
    """Which matches become clips.

    Attributes:
        threshold: τ of the paper; a match must be above it.
        top_k: matches per seed (paper: 10).
        min_gap_us: between matches of a seed in one video; 0 is the paper's literal
            rule.
    """

    threshold: float
    top_k: int
    min_gap_us: int

    def is_above(self, match: Match) -> bool:
        """Return whether a match is similar enough."""
        return match.similarity > self.threshold


def order(match: Match) -> tuple[float, str, int]:
    """Sort the best first, and ties by id and time, whatever the order of arrival."""
    return (-match.similarity, match.video.video_id, match.time_us)


def select_matches(matches: Iterable[Match], selection: Selection) -> list[Match]:
    """Return the selected matches of one seed, the best first.

    Takes them from the best down and leaves out a match that is closer than the gap to
    one already taken in its video.
    """
    taken: list[Match] = []
    times: dict[str, list[int]] = {}
    for match in sorted(filter(selection.is_above, set(matches)), key=order):
        near = times.setdefault(match.video.video_id, [])
        if all(abs(match.time_us - at_us) >= selection.min_gap_us for at_us in near):
            near.append(match.time_us)
            taken.append(match)
            if len(taken) == selection.top_k:
                break
    return taken


def rank_matches(
    matches: Iterable[Match], selection: Selection, embedder: str
) -> Iterator[RankedMatch]:
    """Yield matches by seed, the most similar first, with ranks if they are selected.

    Args:
        matches: of any seeds; equal ones count once.
        selection: what is selected.
        embedder: that the similarities were computed with.
    """
    ordered = sorted(set(matches), key=lambda match: (match.seed_id, order(match)))
    for seed_id, group in groupby(ordered, key=lambda match: match.seed_id):
        rows = list(group)
        best = select_matches(rows, selection)
        ranks = {match: rank for rank, match in enumerate(best, start=1)}
        for match in rows:
            yield RankedMatch(
                seed_id,
                match.video.reference,
                match.video.video_id,
                match.time_us,
                match.similarity,
                ranks.get(match),
                embedder,
            )


class SelectMatchesFn(beam.CombineFn):
    """`select_matches` in bounded memory, whatever the order in which matches arrive.

    Of partial results it keeps the best `top_k` times (frames within the gap): each
    match taken rules out at most that many others, so the top of the whole is among
    them and the outcome is exact.
    """

    def __init__(self, selection: Selection, sample_fps: float) -> None:
        self._selection = selection
        # Frames within the gap on both sides of a match; sampled frames may be half a
        # step off their instants at either end.
        gap_frames = math.ceil(2 * selection.min_gap_us * sample_fps / 1_000_000)
        self._keep = selection.top_k * (gap_frames + 3)

    def create_accumulator(self) -> list[Match]:
        """Return no match."""
        return []

    def add_input(self, best: list[Match], match: Match) -> list[Match]:
        """Add a match, and trim when twice the needed number is held."""
        best.append(match)
        return self._trim(best) if len(best) >= 2 * self._keep else best

    def merge_accumulators(self, accumulators: Iterable[list[Match]]) -> list[Match]:
        """Join partial results."""
        merged: list[Match] = []
        for best in accumulators:
            merged = self._trim(merged + list(best))
        return merged

    def compact(self, best: list[Match]) -> list[Match]:
        """Trim before the accumulator travels."""
        return self._trim(best)

    def extract_output(self, best: list[Match]) -> list[Match]:
        """Return the selected matches of the seed, the best first."""
        return select_matches(best, self._selection)

    def get_accumulator_coder(self) -> coders.Coder:
        """Return a coder of rows; Beam would pickle them."""
        return coders.registry.get_coder(List[Match])

    def _trim(self, matches: list[Match]) -> list[Match]:
        return sorted(set(matches), key=order)[: self._keep]


class SelectedMatches(NamedTuple):
    """What comes out of `SelectMatches`.

    Attributes:
        by_seed: `(seed_id, [Match, ...])`, the best first; seeds without any are not
            there.
        tallies: `(Counter, sum)` pairs.
    """

    by_seed: beam.PCollection
    tallies: list[beam.PCollection]


@dataclass(eq=False)
class SelectMatches(beam.PTransform):
    """`Match` to `SelectedMatches`.

    Attributes:
        selection: what is selected.
        sample_fps: frames sampled per second.
    """

    selection: Selection
    sample_fps: float

    def expand(self, matches: beam.PCollection) -> Any:
        """Drop what is below the threshold, then combine by seed before the shuffle."""
        is_above = self.selection.is_above
        above = matches | "AboveThreshold" >> beam.Filter(is_above)
        below = matches | "BelowThreshold" >> beam.Filter(lambda m: not is_above(m))
        by_seed = (
            above
            | "KeyBySeed"
            >> beam.Map(lambda match: (match.seed_id, match)).with_output_types(
                tuple[str, Match]
            )
            | "KeepBest"
            >> beam.CombinePerKey(SelectMatchesFn(self.selection, self.sample_fps))
        )
        tallies = [
            matches | "Matches" >> Tally(MATCHES),
            below | "Below" >> Tally(BELOW_THRESHOLD),
            # What is above and not selected: all that is above, less what is selected.
            above | "Above" >> Tally(NOT_AMONG_THE_BEST),
            by_seed | "LessBest" >> Tally(NOT_AMONG_THE_BEST, lambda kv: -len(kv[1])),
            by_seed | "Selected" >> Tally(SELECTED, lambda kv: len(kv[1])),
            by_seed | "SeedsMatched" >> Tally(SEEDS_MATCHED),
        ]
        return SelectedMatches(by_seed, tallies)
