"""Counting what flows, as `(Counter, sum)` pairs that `run.json` adds up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from clipseed.run.accounting import Counter


@dataclass(eq=False)
class Tally(beam.PTransform):
    """Sum a number over a collection: one `(counter, sum)`, or none if it is empty.

    Attributes:
        counter: what is counted, or which counter an element counts for.
        size: of an element; None for 1.
    """

    counter: Counter | Callable[[Any], Counter]
    size: Callable[[Any], int] | None = None

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Add up by counter."""
        counter_of, size = self._counter_of, self.size or _one
        return (
            elements
            | beam.Map(lambda e: (counter_of(e), size(e))).with_output_types(
                tuple[Counter, int]
            )
            | beam.CombinePerKey(sum)
        )

    def _counter_of(self, element: Any) -> Counter:
        counter = self.counter
        return counter if isinstance(counter, Counter) else counter(element)


def _one(_: Any) -> int:
    return 1
