"""Search what waits, in batches, because one large search is cheaper than many small.

States of a request: waiting ─► running ─► waiting (if more than a slice) ─► answered;
or canceled (the caller has left), expired (its deadline passed), or overloaded.

Each rule prevents one failure:

- A worker thread takes what waits at the moment. So requests gather only while all
  threads are busy, and a lone request never waits for others.
- Only slices of the same k, threshold and version share a batch, and a query's answer
  is bit-identical in any batch, so batching cannot be seen in the answers.
- A request is searched slice by slice, and `FairQueue` says whose turn it is. So a
  large request cannot keep small ones waiting.
- Whether anybody still waits is looked at before a search and between its blocks. So
  work for clients that have left ends within a fraction of a second.
- An exception of a search goes to the callers of its batch, and the thread continues;
  otherwise one bad batch would leave a server without threads.
- `close` answers what waits and then ends the threads, so a restart loses no request.

gRPC has no batching on the server; TensorFlow Serving's cannot be used apart from it.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any

import numpy as np

from index_service.search.matches import Matches, join_matches, slice_matches
from index_service.serve.fair_queue import FairQueue, Overloaded, Request, Waiting
from index_service.serve.limits import Limits


class _NobodyWaits(Exception):
    """Ends a search that nobody waits for."""


class Batcher:
    """A fair, bounded queue of requests, and the threads that search them in batches.

    Args:
        limits: `threads`, `max_batch`, `max_requests` and `max_waiting`.
        answer: turns a request's matches into its answer, in the searching thread.
        searched: is called with the number of queries of each batch.
        answered: is called after a request has its answer.
    """

    def __init__(
        self,
        limits: Limits,
        answer: Callable[[Request, Matches], Any],
        searched: Callable[[int], None] = lambda _: None,
        answered: Callable[[Request, Matches], None] = lambda *_: None,
    ) -> None:
        self._max_batch = limits.max_batch
        self._queue = FairQueue(limits.max_requests, limits.max_waiting)
        self._answer, self._searched, self._answered = answer, searched, answered
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"search-{i}", daemon=True)
            for i in range(limits.threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """The number of queries that wait."""
        with self._changed:
            return self._queue.queries

    def submit(self, request: Request) -> Future[Any]:
        """Queue a request. The future may be canceled at any time.

        Raises:
            Overloaded: the queue is full, or closed.
        """
        waiting = Waiting(request)
        with self._changed:
            if self._closed:
                raise Overloaded
            displaced = self._queue.add(waiting)
            self._changed.notify()
        for victim in displaced:
            _fail(victim, Overloaded())
        waiting.future.add_done_callback(lambda future: self._forget(waiting, future))
        return waiting.future

    def close(self) -> None:
        """Refuse new requests, answer the waiting ones, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _forget(self, waiting: Waiting, future: Future[Any]) -> None:
        """Give back the place of a canceled request."""
        if future.cancelled():
            with self._changed:
                self._queue.remove(waiting)

    def _work(self) -> None:
        while batch := self._take():
            began_s = time.thread_time()  # Not what others of the machine take.
            matches = self._search(batch)
            finished = _hand_out(batch, matches) if matches else []
            with self._changed:
                self._queue.put_back(batch, time.thread_time() - began_s)
                self._changed.notify()
            for waiting in finished:
                self._finish(waiting)

    def _search(self, batch: list[Waiting]) -> Matches | None:
        """Search a batch; if that fails, its requests have failed."""

        def check() -> None:
            if not any(waiting.wanted for waiting in batch):
                raise _NobodyWaits

        request = batch[0].request
        queries = np.concatenate([waiting.slice for waiting in batch])
        self._searched(len(queries))
        try:
            check()
            return request.index.search(queries, request.k, request.threshold, check)
        except _NobodyWaits:
            error: Exception = TimeoutError("the request waited past its deadline")
        except Exception as failure:  # The callers raise it; the thread continues.
            error = failure
        for waiting in batch:
            _fail(waiting, error)
        return None

    def _finish(self, waiting: Waiting) -> None:
        matches = join_matches(waiting.parts)
        try:
            answer = self._answer(waiting.request, matches)
        except Exception as failure:  # As for a search that fails.
            _fail(waiting, failure)
            return
        try:
            waiting.future.set_result(answer)
        except InvalidStateError:  # The caller has left.
            return
        self._answered(waiting.request, matches)

    def _take(self) -> list[Waiting]:
        """Wait for requests; take those that are searched next.

        Returns:
            The batch; empty when the batcher is closed and nothing waits.
        """
        batch: list[Waiting] = []
        while not batch:
            with self._changed:
                while not len(self._queue):
                    if self._closed:
                        return []
                    self._changed.wait()
                late = self._queue.drop_unwanted()
                batch = self._queue.take(self._max_batch)
            for waiting in late:
                _fail(waiting, TimeoutError("the request waited past its deadline"))
        return batch


def _hand_out(batch: list[Waiting], matches: Matches) -> list[Waiting]:
    """Give each request the matches of its slice; return those that are complete."""
    start = 0
    for waiting in batch:
        end = start + len(waiting.slice)
        waiting.parts.append(slice_matches(matches, start, end))
        start = end
    return [w for w in batch if w.left == len(w.slice) and not w.future.done()]


def _fail(waiting: Waiting, error: Exception) -> None:
    try:
        waiting.future.set_exception(error)
    except InvalidStateError:  # The caller has left.
        return
