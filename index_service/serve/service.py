"""The gRPC methods: check requests, search, answer; every refusal has a reason."""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import numpy as np

from clipseed.errors import InputError
from index_service.search.searcher import Searcher, check_request
from index_service.serve.batching import (
    Batcher,
    Overloaded,
    Request,
    search_together,
)
from index_service.serve.limits import Limits
from index_service.serve.metrics import Metrics, resident_bytes
from index_service.serve.versions import Versions
from index_service.store.embeddings import check_queries
from index_service.wire import search_pb2 as wire
from index_service.wire import search_pb2_grpc as rpc
from index_service.wire.convert import Answer, to_wire

RETRY_HINT = "retry-after-ms"
_RETRY_AFTER_MS = 50


class IndexService(rpc.IndexServiceServicer):
    """The service of one index.

    Args:
        versions: the index, and its current version.
        limits: see `Limits`.
        metrics: counters to update.
    """

    def __init__(self, versions: Versions, limits: Limits, metrics: Metrics) -> None:
        self._versions = versions
        self._limits = limits
        self._metrics = metrics
        self._places = threading.BoundedSemaphore(limits.max_requests)
        self._batches = 0
        self._queries = 0
        self._began_s = time.monotonic()
        self.batcher = Batcher(
            self._search, limits.threads, limits.max_batch, limits.max_waiting
        )
        metrics.waiting.set_function(lambda: self.batcher.waiting)
        self._record_version()

    # --- the methods ------------------------------------------------------------------

    def Search(
        self, request: wire.SearchRequest, context: grpc.ServicerContext
    ) -> wire.SearchResponse:
        """See `search.proto`."""
        began_s = time.perf_counter()
        with self._admitted(context):
            answer = self._answer(request, context)
        self._metrics.latency.observe(time.perf_counter() - began_s)
        self._metrics.queries.inc(len(answer.matches.counts))
        self._queries += len(answer.matches.counts)
        return to_wire(answer)

    def Stats(
        self, request: wire.StatsRequest, context: grpc.ServicerContext
    ) -> wire.StatsResponse:
        """See `search.proto`."""
        manifest = self._versions.current.manifest
        return wire.StatsResponse(
            version=manifest.version,
            embedder_id=manifest.embedder_id,
            dimension=manifest.dimension,
            count=manifest.count,
            kind=manifest.kind,
            shard=manifest.shard,
            shards=manifest.shards,
            threshold=manifest.threshold,
            recall=manifest.audit.recall,
            queries=self._queries,
            reloads=self._versions.reloads,
            uptime_s=time.monotonic() - self._began_s,
            memory_bytes=resident_bytes(),
            build=manifest.build,
        )

    def Reload(
        self, request: wire.ReloadRequest, context: grpc.ServicerContext
    ) -> wire.ReloadResponse:
        """See `search.proto`."""
        try:
            previous, version = self.reload(
                request.directory, request.allow_other_embedder
            )
        except InputError as error:
            self._refuse(context, grpc.StatusCode.FAILED_PRECONDITION, error)
        return wire.ReloadResponse(version=version, previous_version=previous)

    def reload(self, directory: str = "", other: bool = False) -> tuple[str, str]:
        """Swap the version.

        Returns:
            The names of the old and of the new version.

        Raises:
            InputError: see `Versions.reload`.
        """
        previous = self._versions.reload(directory, other)
        self._record_version()
        return previous, self._versions.current.version

    # --- searching --------------------------------------------------------------------

    @contextmanager
    def _admitted(self, context: grpc.ServicerContext) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            self._overloaded(
                context,
                "too_many_requests",
                f"{self._limits.max_requests} requests are being answered",
            )
        try:
            yield
        finally:
            self._places.release()

    def _answer(
        self, request: wire.SearchRequest, context: grpc.ServicerContext
    ) -> Answer:
        try:
            search = read_request(request, self._versions.current, self._limits)
        except InputError as error:
            self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error)
        left_s = context.time_remaining()
        if left_s is not None:
            search = _until(search, time.monotonic() + left_s)
        try:
            future = self.batcher.submit(search)
        except Overloaded:
            self._overloaded(context, "queue_full", "the queue is full")
        context.add_callback(lambda: _cancel(future))
        try:
            return future.result()
        except InputError as error:
            self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, error)
        except (TimeoutError, CancelledError):
            late = InputError("deadline", "the request waited past its deadline")
            self._refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, late)

    def _search(self, requests: list[Request]) -> list[Answer | InputError]:
        """Search a batch in one version, also when a reload swaps it meanwhile."""
        searcher = self._versions.current
        held = searcher.manifest
        good = [r for r in requests if _fits(r, held.embedder_id, held.dimension)]
        changed = InputError(
            "unknown_embedder",
            f"the index was replaced by one of {held.embedder_id!r} meanwhile; embed "
            "the queries with that",
        )
        answers: dict[int, Answer | InputError] = {}
        if good:
            found = search_together(searcher.search, searcher.version, good)
            answers = {id(r): a for r, a in zip(good, found, strict=True)}
            self._note(searcher, good, found)
        return [answers.get(id(request), changed) for request in requests]

    def _note(
        self, searcher: Searcher, requests: list[Request], answers: list[Any]
    ) -> None:
        """Count a batch, and compare one in `audit_one_in` with an exact search."""
        self._metrics.batch.observe(sum(len(r.queries) for r in requests))
        self._batches += 1
        every, threshold = self._limits.audit_one_in, requests[0].threshold
        if not every or threshold is None or self._batches % every:
            return
        for request, answer in zip(requests, answers, strict=True):
            truth = searcher.exact_pairs_above(request.queries, threshold)
            counts = np.bincount(truth.query_rows, minlength=len(request.queries))
            self._metrics.sampled.inc(int(np.minimum(counts, request.k).sum()))
            self._metrics.found.inc(len(answer.matches.ids))

    def _record_version(self) -> None:
        manifest = self._versions.current.manifest
        self._metrics.version.info(
            {"version": manifest.version, "embedder_id": manifest.embedder_id}
        )

    def _overloaded(
        self, context: grpc.ServicerContext, reason: str, what: str
    ) -> NoReturn:
        context.set_trailing_metadata(((RETRY_HINT, str(_RETRY_AFTER_MS)),))
        error = InputError(reason, f"{what}; retry later, or add replicas")
        self._refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, error)

    def _refuse(
        self, context: grpc.ServicerContext, code: grpc.StatusCode, error: InputError
    ) -> NoReturn:
        self._metrics.refused.labels(error.reason).inc()
        logging.debug("refused: %s: %s", error.reason, error.message)
        context.abort(code, f"{error.reason}: {error.message}")
        raise AssertionError("abort raises")


def _cancel(future: Future[Answer]) -> None:
    """Drop a search whose client has left, unless it has begun."""
    future.cancel()


def read_request(
    request: wire.SearchRequest, searcher: Searcher, limits: Limits
) -> Request:
    """Check a `SearchRequest` against the index, and decode it.

    Whatever would yield an answer that looks right but means nothing is refused here.

    Raises:
        InputError: `unknown_embedder`, `wrong_dimension`, `empty_batch`,
            `wrong_length`, `bad_k`, `bad_threshold`, `too_many_queries`, or as
            `check_queries`.
    """
    manifest = searcher.manifest
    if request.embedder_id != manifest.embedder_id:
        raise InputError(
            "unknown_embedder",
            f"the queries come from {request.embedder_id!r}, but the index from "
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
    threshold = request.threshold if request.HasField("threshold") else None
    check_request(request.k, threshold)
    if request.k > limits.max_k:
        raise InputError(
            "bad_k", f"k is {request.k}; this server returns at most {limits.max_k}"
        )
    rows = np.frombuffer(request.queries, "<f4").reshape(-1, manifest.dimension)
    if len(rows) > limits.max_queries:
        raise InputError(
            "too_many_queries",
            f"the request has {len(rows)} queries; send at most {limits.max_queries}",
        )
    queries = np.ascontiguousarray(rows, np.float32)
    check_queries(queries, manifest.dimension)
    return Request(queries, request.k, threshold, request.embedder_id)


def _fits(request: Request, embedder_id: str, dimension: int) -> bool:
    same = request.embedder_id == embedder_id
    return same and request.queries.shape[1] == dimension


def _until(request: Request, expires_s: float) -> Request:
    return Request(
        request.queries,
        request.k,
        request.threshold,
        request.embedder_id,
        expires_s,
    )
