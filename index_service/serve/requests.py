"""Check a request, and bound what it costs, before it is searched."""

import math

import numpy as np

from clipseed.errors import InputError
from index_service.build.tune import cost
from index_service.search.searcher import Searcher, check_request
from index_service.serve.fair_queue import Request
from index_service.serve.limits import Limits
from index_service.store.embeddings import check_queries
from index_service.store.index_directory import IndexManifest
from index_service.wire import search_pb2 as wire

_BILLION = 1e9


def read_request(
    request: wire.SearchRequest,
    searcher: Searcher,
    limits: Limits,
    peer: str,
    expires_s: float,
) -> Request:
    """Check a `SearchRequest` against the index, and decode it.

    Whatever would yield an answer that looks right but means nothing is refused here,
    and so is what would cost more than the limits. What is cheap to see comes first.

    Args:
        request: the message.
        searcher: the version of the index that is to answer.
        limits: see `Limits`.
        peer: who asks.
        expires_s: deadline, on the clock of `time.monotonic`.

    Raises:
        InputError: `unknown_embedder`, `wrong_dimension`, `empty_batch`,
            `wrong_length`, `bad_k`, `bad_threshold`, `too_many_queries`,
            `too_many_matches`, `too_much_work`, or as `check_queries`.
    """
    manifest = searcher.manifest
    _check_embedder(request, manifest)
    threshold = request.threshold if request.HasField("threshold") else None
    check_request(request.k, threshold)
    _check_size(request, manifest, limits)
    rows = np.frombuffer(request.queries, "<f4").reshape(-1, manifest.dimension)
    queries = np.ascontiguousarray(rows, np.float32)
    check_queries(queries, manifest.dimension)
    return Request(searcher, queries, request.k, threshold, peer, expires_s)


def work(manifest: IndexManifest, queries: int) -> float:
    """Estimate the work of a search, in multiply-adds; see `tune.cost`."""
    if manifest.settings is None:
        return float(queries) * manifest.count * manifest.dimension
    return queries * cost(manifest.count, manifest.dimension, manifest.settings)


def _check_embedder(request: wire.SearchRequest, manifest: IndexManifest) -> None:
    if request.embedder_id != manifest.embedder_id:
        raise InputError(
            "unknown_embedder",
            f"the queries come from {request.embedder_id[:200]!r}, but the index from "
            f"{manifest.embedder_id!r}; embed with that, or build another index",
        )
    if request.dimension != manifest.dimension:
        raise InputError(
            "wrong_dimension",
            f"the queries have {request.dimension} dimensions, but the index has "
            f"{manifest.dimension}; use the index's embedder",
        )
    if not request.queries:
        raise InputError("empty_batch", "the request has no query; send at least one")
    if len(request.queries) % (4 * manifest.dimension):
        raise InputError(
            "wrong_length",
            f"{len(request.queries)} bytes are not a whole number of queries of "
            f"{manifest.dimension} float32; send whole rows",
        )


def _check_size(
    request: wire.SearchRequest, manifest: IndexManifest, limits: Limits
) -> None:
    count = len(request.queries) // (4 * manifest.dimension)
    if request.k > limits.max_k:
        raise InputError(
            "bad_k", f"k is {request.k}; this server returns at most {limits.max_k}"
        )
    if count > limits.max_queries:
        raise InputError(
            "too_many_queries",
            f"the request has {count} queries; send at most {limits.max_queries}",
        )
    if count * request.k > limits.max_matches:
        raise InputError(
            "too_many_matches",
            f"{count} queries times k = {request.k} exceed the limit of "
            f"{limits.max_matches} matches; send at most "
            f"{max(1, limits.max_matches // request.k)} queries, or a smaller k",
        )
    each = work(manifest, 1) / _BILLION
    if count * each > limits.max_work:
        most = math.floor(limits.max_work / each)
        raise InputError(
            "too_much_work",
            f"{count} queries take {count * each:.3g} billion multiply-adds, above the "
            f"limit of {limits.max_work:g}; send at most {most} queries",
        )
