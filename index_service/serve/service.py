"""The gRPC methods: check requests, search, answer; every refusal has a reason."""

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

from clipseed.errors import InputError
from index_service.search.matches import Matches
from index_service.serve.batching import Batcher
from index_service.serve.fair_queue import SLICE, Overloaded, Request
from index_service.serve.limits import Limits
from index_service.serve.metrics import Metrics, resident_bytes
from index_service.serve.outbox import Parts
from index_service.serve.refusal import Refusal, bad_request, overloaded, too_late
from index_service.serve.requests import read_request
from index_service.serve.versions import Versions
from index_service.wire import search_pb2 as wire
from index_service.wire.convert import Answer, to_wire

if TYPE_CHECKING:
    _Context = grpc.aio.ServicerContext[Any, Any]  # of any method

# Of an answer in memory: a reference to the id, a similarity, and some to spare.
_MATCH_BYTES = 16

NAME = wire.DESCRIPTOR.services_by_name["IndexService"].full_name


class IndexService:
    """The service of one index. Its methods run in the event loop and raise `Refusal`.

    Args:
        versions: the index, and its current version.
        limits: see `Limits`.
        metrics: counters to update.
    """

    def __init__(self, versions: Versions, limits: Limits, metrics: Metrics) -> None:
        self._versions = versions
        self._limits = limits
        self._metrics = metrics
        self._answered = 0
        self._queries = 0
        self._began_s = time.monotonic()
        self._checking = ThreadPoolExecutor(1, "check")
        self.batcher = Batcher(limits, self._count, metrics.batch.observe, self._note)
        metrics.waiting.set_function(lambda: self.batcher.waiting)
        self._record_version()

    def handlers(self) -> Any:
        """Return the methods, for a server whose `Guard` sends what they return."""
        made = grpc.unary_unary_rpc_method_handler
        methods: Any = {
            "Search": made(
                self.search,
                wire.SearchRequest.FromString,
                wire.SearchResponse.SerializeToString,
            ),
            "Stats": made(
                self.stats,
                wire.StatsRequest.FromString,
                wire.StatsResponse.SerializeToString,
            ),
            "Reload": made(
                self.reload_message,
                wire.ReloadRequest.FromString,
                wire.ReloadResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler(NAME, methods)

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        self.batcher.close()
        self._checking.shutdown()

    # --- the methods ------------------------------------------------------------------

    async def search(self, message: wire.SearchRequest, context: "_Context") -> Parts:
        """See `search.proto`."""
        began_s = time.perf_counter()
        deadline_s = context.time_remaining()
        left_s = min(
            self._limits.max_answer_s, math.inf if deadline_s is None else deadline_s
        )
        expires_s = time.monotonic() + left_s
        arguments = (message, self._versions.current, self._limits, context.peer())
        loop = asyncio.get_running_loop()
        try:
            request = await loop.run_in_executor(
                self._checking, read_request, *arguments, expires_s
            )
            async with asyncio.timeout(left_s):
                answer = await asyncio.wrap_future(self.batcher.submit(request))
        except InputError as error:
            raise bad_request(error) from error
        except Overloaded:
            raise overloaded("queue_full", "the queue is full") from None
        except TimeoutError:
            late = f"the request was not answered within {left_s:.1f} s; send less"
            raise too_late("deadline", late, fault=False) from None
        self._metrics.latency.observe(time.perf_counter() - began_s)
        return Parts(to_wire(answer), _MATCH_BYTES * len(answer.matches.ids))

    async def stats(
        self, message: wire.StatsRequest, context: "_Context"
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

    async def reload_message(
        self, message: wire.ReloadRequest, context: "_Context"
    ) -> wire.ReloadResponse:
        """See `search.proto`."""
        loop = asyncio.get_running_loop()
        try:
            previous, version = await loop.run_in_executor(
                None, self.reload, message.directory, message.allow_other_embedder
            )
        except InputError as error:
            code = grpc.StatusCode.FAILED_PRECONDITION
            raise Refusal(code, error.reason, error.message) from error
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

    # --- in the searching threads -----------------------------------------------------

    def _count(self, request: Request, matches: Matches) -> Answer:
        self._metrics.queries.inc(len(matches.counts))
        self._queries += len(matches.counts)
        return Answer(request.index.version, matches)

    def _note(self, request: Request, matches: Matches) -> None:
        """Compare the first queries of one request in `audit_one_in` with the truth."""
        self._answered += 1
        every, threshold = self._limits.audit_one_in, request.threshold
        if not every or threshold is None or self._answered % every:
            return
        sample = request.queries[:SLICE]
        truth = request.index.exact_best(sample, request.k, threshold)
        self._metrics.sampled.inc(len(truth.similarity))
        self._metrics.found.inc(int(matches.counts[:SLICE].sum()))

    def _record_version(self) -> None:
        manifest = self._versions.current.manifest
        self._metrics.version.info(
            {"version": manifest.version, "embedder_id": manifest.embedder_id}
        )
