"""Convert answers to messages and back."""

from typing import NamedTuple

import numpy as np

from index_service.search.matches import Matches
from index_service.wire import search_pb2 as wire


class Answer(NamedTuple):
    """The matches of one request, and the version of the index they are from."""

    version: str
    matches: Matches


def to_wire(answer: Answer) -> wire.SearchResponse:
    """Convert an answer to a `SearchResponse`."""
    matches = answer.matches
    return wire.SearchResponse(
        version=answer.version,
        counts=matches.counts.tolist(),
        ids=matches.ids,
        similarities=matches.similarities.tolist(),
        cut=matches.cut.tolist(),
    )


def from_wire(response: wire.SearchResponse) -> Answer:
    """Convert a `SearchResponse` to an answer."""
    matches = Matches(
        np.array(response.counts, np.int64),
        list(response.ids),
        np.array(response.similarities, np.float32),
        np.array(response.cut, bool),
    )
    return Answer(response.version, matches)
