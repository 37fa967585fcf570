"""Answers to messages and back."""

from typing import Any

import numpy as np

from index_service.search.hits import Hits
from index_service.serve.batching import Answer
from index_service.wire import search_pb2 as wire


def to_wire(answer: Answer) -> Any:
    """An answer as a `SearchResponse`."""
    hits = answer.hits
    return wire.SearchResponse(
        version=answer.version,
        counts=hits.counts.tolist(),
        ids=hits.ids,
        similarities=hits.similarities.tolist(),
        cut=hits.cut.tolist(),
    )


def from_wire(response: Any) -> Answer:
    """A `SearchResponse` as an answer."""
    hits = Hits(
        np.array(response.counts, np.int64),
        list(response.ids),
        np.array(response.similarities, np.float32),
        np.array(response.cut, bool),
    )
    return Answer(response.version, hits)
