"""The best matches of each seed over the whole corpus (paper, section 3.1, step 3)."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
from apache_beam import coders
from apache_beam.typehints import List

from clipseed.elements import Match


def order(match: Match) -> tuple[float, str, int]:
    """Best first; ties go by id and time, so that no order of arrival shows."""
    return (-match.similarity, match.video.video_id, match.time_us)


def select_top(matches: Iterable[Match], top_k: int, min_gap_us: int) -> list[Match]:
    """The best `top_k` matches of one seed, at least `min_gap_us` apart in a video.

    Goes from the best down and leaves out a match that lies closer than the gap to one
    already taken in its video. A gap of 0 is the paper's literal rule.
    """
    taken: list[Match] = []
    times: dict[str, list[int]] = {}
    for match in sorted(set(matches), key=order):
        near = times.setdefault(match.video.video_id, [])
        if all(abs(match.time_us - time_us) >= min_gap_us for time_us in near):
            near.append(match.time_us)
            taken.append(match)
            if len(taken) == top_k:
                break
    return taken


class TopMatchesFn(beam.CombineFn):
    """`select_top` in bounded memory, whatever the order in which matches arrive.

    Of partial results it keeps the best `top_k` times (frames within the gap): each
    match taken rules out at most that many others, so the top of the whole is among
    them and the outcome is exact.
    """

    def __init__(self, top_k: int, min_gap_us: int, fps: float) -> None:
        self._top_k = top_k
        self._min_gap_us = min_gap_us
        # Frames within the gap on both sides of a match; sampled frames may sit half a
        # step off their instants at either end.
        self._keep = top_k * (math.ceil(2 * min_gap_us * fps / 1_000_000) + 3)

    def create_accumulator(self) -> list[Match]:
        """No match yet."""
        return []

    def add_input(self, best: list[Match], match: Match) -> list[Match]:
        """Adds a match, and trims when twice the needed number is held."""
        best.append(match)
        return self._trim(best) if len(best) >= 2 * self._keep else best

    def merge_accumulators(self, accumulators: Iterable[list[Match]]) -> list[Match]:
        """Joins partial results."""
        merged: list[Match] = []
        for best in accumulators:
            merged = self._trim(merged + list(best))
        return merged

    def compact(self, best: list[Match]) -> list[Match]:
        """Trims before the accumulator travels."""
        return self._trim(best)

    def extract_output(self, best: list[Match]) -> list[Match]:
        """The seed's matches, best first."""
        return select_top(best, self._top_k, self._min_gap_us)

    def get_accumulator_coder(self) -> coders.Coder:
        """Partial results travel as rows; Beam would pickle them."""
        return coders.registry.get_coder(List[Match])

    def _trim(self, matches: list[Match]) -> list[Match]:
        return sorted(set(matches), key=order)[: self._keep]


@dataclass(eq=False)
class TopMatches(beam.PTransform):
    """`Match` to `(seed_id, [Match, ...])`, the best first.

    Attributes:
        top_k: matches to keep a seed (paper: 10).
        min_gap_us: see `select_top`.
        fps: frames sampled a second.
    """

    top_k: int
    min_gap_us: int
    fps: float

    def expand(self, matches: beam.PCollection) -> beam.PCollection:
        """Combines by seed, lifted before the shuffle."""
        combine = TopMatchesFn(self.top_k, self.min_gap_us, self.fps)
        return (
            matches
            | "KeyBySeed"
            >> beam.Map(lambda match: (match.seed_id, match)).with_output_types(
                tuple[str, Match]
            )
            | "KeepBest" >> beam.CombinePerKey(combine)
        )
