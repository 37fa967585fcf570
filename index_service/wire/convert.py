"""Convert answers to messages and back."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from index_service.search.matches import Matches
from index_service.wire import search_pb2 as wire

_PART_MATCHES = 2048


class Answer(NamedTuple):
    """The matches of one request, and the version of the index they are from."""

    version: str
    matches: Matches


def to_wire(answer: Answer) -> Iterator[wire.SearchResponse]:
    """Convert an answer to the parts of a `SearchResponse`, of some 50 KB each."""
    matches = answer.matches
    yield wire.SearchResponse(
        version=answer.version,
        counts=matches.counts.tolist(),
        cut=matches.cut.tolist(),
        **_part(matches, 0),
    )
    for start in range(_PART_MATCHES, len(matches.ids), _PART_MATCHES):
        yield wire.SearchResponse(**_part(matches, start))


def merge_parts(parts: Iterable[wire.SearchResponse]) -> wire.SearchResponse:
    """Merge the parts of a `SearchResponse`."""
    whole = wire.SearchResponse()
    for part in parts:
        whole.MergeFrom(part)
    return whole


def _part(matches: Matches, start: int) -> dict[str, Any]:
    rows = slice(start, start + _PART_MATCHES)
    return {"ids": matches.ids[rows], "similarities": matches.similarities[rows]}


def from_wire(response: wire.SearchResponse) -> Answer:
    """Convert a `SearchResponse` to an answer."""
    matches = Matches(
        np.array(response.counts, np.int64),
        list(response.ids),
        np.array(response.similarities, np.float32),
        np.array(response.cut, bool),
    )
    return Answer(response.version, matches)
