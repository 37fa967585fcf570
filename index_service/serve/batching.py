"""Small requests that arrive together are searched together.

Worker threads take what waits, so requests gather just as long as the processors are
busy; no request waits for others to come. Only requests of the same k and threshold
share a batch, and a query has the same answer in any batch, so nobody can tell.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from clipseed.errors import InputError
from index_service.search.hits import Hits, slice_hits


@dataclass(frozen=True)
class Answer:
    """What one request found, and in which version of the index."""

    version: str
    hits: Hits


@dataclass(frozen=True)
class Request:
    """A search that waits.

    Attributes:
        queries: float32 [m, d], unit norm.
        k: at most so many hits a query.
        threshold: similarity that a hit must exceed, or None.
        embedder_id: what made the queries.
        expires_s: when nobody waits any longer, on `time.monotonic`'s clock.
    """

    queries: np.ndarray
    k: int
    threshold: float | None
    embedder_id: str
    expires_s: float = float("inf")


@dataclass(eq=False)
class _Waiting:
    request: Request
    future: Future[Answer] = field(default_factory=Future)


Run = Callable[[list[Request]], list[Answer | InputError]]


class Overloaded(Exception):
    """The queue is full: come again later."""


class Batcher:
    """A bounded queue of requests, and the threads that search them in batches.

    Args:
        run: searches requests of one k and threshold; gives an answer for each.
        threads: that search.
        max_batch: queries to search at once (a larger request goes alone).
        max_waiting: queries that may wait; above it requests are refused.
    """

    def __init__(self, run: Run, threads: int, max_batch: int, max_waiting: int):
        self._run = run
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting: deque[_Waiting] = deque()
        self._queries = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"search-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Queries that wait to be searched."""
        return self._queries

    def submit(self, request: Request) -> Future[Answer]:
        """Queue a request. The future may be canceled.

        Raises:
            Overloaded: the queue is full, or closed.
        """
        waiting = _Waiting(request)
        with self._changed:
            size = len(request.queries)
            if self._closed or (
                self._queries and self._queries + size > self._max_waiting
            ):
                raise Overloaded
            self._queries += size
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Answer what waits, takes no more, and ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._take():
            live = [w for w in batch if self._is_wanted(w)]
            if not live:
                continue
            try:
                answers = self._run([waiting.request for waiting in live])
            except Exception as error:  # The callers get it; the thread goes on.
                for waiting in live:
                    waiting.future.set_exception(error)
                continue
            for waiting, answer in zip(live, answers, strict=True):
                if isinstance(answer, InputError):
                    waiting.future.set_exception(answer)
                else:
                    waiting.future.set_result(answer)

    @staticmethod
    def _is_wanted(waiting: _Waiting) -> bool:
        if not waiting.future.set_running_or_notify_cancel():
            return False
        if time.monotonic() < waiting.request.expires_s:
            return True
        waiting.future.set_exception(TimeoutError("the request waited past its end"))
        return False

    def _take(self) -> list[_Waiting]:
        """The first request that waits and others like it; empty: the end."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            batch = [self._waiting.popleft()]
            first, size = batch[0].request, len(batch[0].request.queries)
            left: deque[_Waiting] = deque()
            while self._waiting and size < self._max_batch:
                waiting = self._waiting.popleft()
                count = len(waiting.request.queries)
                if _alike(first, waiting.request) and size + count <= self._max_batch:
                    batch.append(waiting)
                    size += count
                else:
                    left.append(waiting)
            self._waiting.extendleft(reversed(left))
            self._queries -= size
            return batch


def _alike(a: Request, b: Request) -> bool:
    return (a.k, a.threshold) == (b.k, b.threshold)


def search_together(
    search: Callable[[np.ndarray, int, float | None], Hits],
    version: str,
    requests: list[Request],
) -> list[Answer | InputError]:
    """Search requests of one k and threshold at once, and takes the hits apart."""
    queries = np.concatenate([request.queries for request in requests])
    hits = search(queries, requests[0].k, requests[0].threshold)
    ends = np.cumsum([len(request.queries) for request in requests])
    starts = [0, *ends[:-1]]
    return [
        Answer(version, slice_hits(hits, int(start), int(end)))
        for start, end in zip(starts, ends, strict=True)
    ]
