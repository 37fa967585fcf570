"""Which waiting request is searched next: each peer gets an equal share of the time.

A peer is a connection. Its requests are searched in order, in slices of `SLICE`
queries; after each slice the peer that has used the least time is next, so a request of
a thousand queries delays others by one slice. (This is start-time fair queueing: Goyal,
Vin, Cheng 1996. A peer that comes or comes back starts where the others are, so that
nothing is gained by being idle or by connecting again.)

The queue is bounded in requests and in queries. When it is full, the newest request of
the peer that holds the most queries makes way for a peer that holds less; so whoever
fills the queue is who is refused.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from index_service.search.exact import Check, Pairs
from index_service.search.matches import Matches

# Queries of a request that are searched without a look at who else waits. All slices of
# a request but the last are whole.
SLICE = 64


class Searchable(Protocol):
    """What a request is searched in; `Searcher` is one."""

    @property
    def version(self) -> str:
        """The name of the content."""

    def search(
        self, queries: np.ndarray, k: int, threshold: float | None, check: Check
    ) -> Matches:
        """Find the best k seeds of each query, see `Searcher.search`."""

    def exact_best(self, queries: np.ndarray, k: int, threshold: float) -> Pairs:
        """Find the true best k seeds of each query, see `Searcher.exact_best`."""


@dataclass(frozen=True)
class Request:
    """A request to search.

    Attributes:
        index: the version of the index that answers the whole request.
        queries: float32 [m, d], unit norm.
        k: maximum number of matches per query.
        threshold: similarity that a match must exceed, or None.
        peer: who asks.
        expires_s: deadline, on the clock of `time.monotonic`.
    """

    index: Searchable
    queries: np.ndarray
    k: int
    threshold: float | None
    peer: str = ""
    expires_s: float = float("inf")


class Overloaded(Exception):
    """The queue is full; retry later."""


@dataclass(eq=False)
class Waiting:
    """A request that is not answered yet.

    Attributes:
        request: the request.
        future: its answer; may be canceled at any time.
        parts: the matches of the slices searched so far.
        searched: number of queries searched so far.
    """

    request: Request
    future: Future[Any] = field(default_factory=Future)
    parts: list[Matches] = field(default_factory=list)
    searched: int = 0

    @property
    def left(self) -> int:
        """Number of queries that are still to be searched."""
        return len(self.request.queries) - self.searched

    @property
    def slice(self) -> np.ndarray:
        """The queries to search next."""
        return self.request.queries[self.searched : self.searched + SLICE]

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return not self.future.done() and time.monotonic() < self.request.expires_s


@dataclass(eq=False)
class _Peer:
    used_s: float
    order: int
    waiting: deque[Waiting] = field(default_factory=deque)
    running: int = 0

    @property
    def queries(self) -> int:
        return sum(waiting.left for waiting in self.waiting)


class FairQueue:
    """The requests that wait, by peer. Not safe for use by several threads.

    Args:
        max_requests: requests that may be unanswered, those being searched included.
        max_queries: queries that may wait; a single request may have more.
    """

    def __init__(self, max_requests: int, max_queries: int) -> None:
        self._max_requests = max_requests
        self._max_queries = max_queries
        self._peers: dict[str, _Peer] = {}
        self._order = itertools.count()
        self._now_s = 0.0
        self._running = 0

    def __len__(self) -> int:
        return sum(len(peer.waiting) for peer in self._peers.values())

    @property
    def queries(self) -> int:
        """Number of queries that wait."""
        return sum(peer.queries for peer in self._peers.values())

    def add(self, waiting: Waiting) -> list[Waiting]:
        """Add a request.

        Returns:
            The requests that give way to it, no longer in the queue.

        Raises:
            Overloaded: the queue is full, and the peer holds as much as any other.
        """
        peer = self._peers.get(waiting.request.peer)
        mine = waiting.left + (peer.queries if peer else 0)
        victims = self._victims(waiting, mine)
        for victim in victims:
            self.remove(victim)
        self._enter(waiting.request.peer).waiting.append(waiting)
        return victims

    def remove(self, waiting: Waiting) -> None:
        """Remove a request, if it waits."""
        peer = self._peers.get(waiting.request.peer)
        if peer and waiting in peer.waiting:
            peer.waiting.remove(waiting)
            self._tidy()

    def drop_unwanted(self) -> list[Waiting]:
        """Remove and return the requests whose answer nobody waits for."""
        waiting = [w for peer in self._peers.values() for w in peer.waiting]
        unwanted = [w for w in waiting if not w.wanted]
        for one in unwanted:
            self.remove(one)
        return unwanted

    def take(self, max_batch: int) -> list[Waiting]:
        """Take the requests whose next slices are searched together.

        These are alike, first those of the peer that has used the least time; of each
        peer at most `SLICE` queries, and `max_batch` in total unless the first slice
        alone has more.
        """
        batch: list[Waiting] = []
        size = 0
        for peer in sorted(self._waiting_peers(), key=lambda p: (p.used_s, p.order)):
            if not batch:
                self._now_s = max(self._now_s, peer.used_s)
            share = 0
            for waiting in list(peer.waiting):
                rows = len(waiting.slice)
                fits = share + rows <= SLICE and size + rows <= max_batch
                if not batch or (fits and _alike(batch[0], waiting)):
                    batch.append(waiting)
                    peer.waiting.remove(waiting)
                    peer.running += 1
                    share, size = share + rows, size + rows
        self._running += len(batch)
        return batch

    def put_back(self, batch: list[Waiting], seconds: float) -> None:
        """Charge peers for the time of a batch; what is unfinished waits again."""
        rows = [len(waiting.slice) for waiting in batch]
        for waiting, count in zip(batch, rows, strict=True):
            peer = self._peers[waiting.request.peer]
            peer.used_s += seconds * count / sum(rows)
            peer.running -= 1
            waiting.searched += count
        for waiting in reversed(batch):
            if waiting.left and not waiting.future.done():
                self._peers[waiting.request.peer].waiting.appendleft(waiting)
        self._running -= len(batch)
        self._tidy()

    def _enter(self, name: str) -> _Peer:
        peer = self._peers.setdefault(name, _Peer(self._now_s, next(self._order)))
        if not peer.waiting and not peer.running:
            peer.used_s = max(peer.used_s, self._now_s)
            peer.order = next(self._order)
        return peer

    def _waiting_peers(self) -> Iterator[_Peer]:
        return (peer for peer in self._peers.values() if peer.waiting)

    def _victims(self, newcomer: Waiting, mine: int) -> list[Waiting]:
        """Choose the requests that must give way for the newcomer to fit."""
        count, queries = len(self) + self._running, self.queries
        held = {name: peer.queries for name, peer in self._peers.items()}
        newest = {name: list(peer.waiting) for name, peer in self._peers.items()}
        victims: list[Waiting] = []
        while count >= self._max_requests or (
            queries and queries + newcomer.left > self._max_queries
        ):
            heaviest = max(held, key=held.__getitem__, default="")
            if held.get(heaviest, 0) <= mine:
                raise Overloaded
            victim = newest[heaviest].pop()
            victims.append(victim)
            held[heaviest] -= victim.left
            count, queries = count - 1, queries - victim.left
        return victims

    def _tidy(self) -> None:
        """Forget peers that owe nothing."""
        gone = [
            name
            for name, peer in self._peers.items()
            if not peer.waiting
            and not peer.running
            and (peer.used_s <= self._now_s or not (len(self) or self._running))
        ]
        for name in gone:
            del self._peers[name]


def _alike(a: Waiting, b: Waiting) -> bool:
    one, two = a.request, b.request
    return (one.k, one.threshold) == (two.k, two.threshold) and one.index is two.index
