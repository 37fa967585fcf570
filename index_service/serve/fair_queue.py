"""Which waiting request is searched next: that of the peer which has used least.

A peer is a connection. Its requests are searched in order, in slices of `SLICE`
queries; after each slice the peer that has used the least search time of late is next.
So a request of a thousand queries delays others by one slice, peers that want more than
there is get equal shares, and whoever wants less than that hardly waits. Use is
forgotten by half every `_HALF_LIFE_S`. A peer that is new counts as one that has used
much (`_NEWCOMER_S`), so that nothing is gained by connecting again.

The queue is bounded in requests and in queries. When it is full, the newest request of
the peer that holds the most of them makes way for a peer that holds less; so whoever
fills the queue is who is refused.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from index_service.search.exact import Check, Pairs
from index_service.search.matches import Matches

# Queries of a request that are searched without a look at who else waits; fewer if they
# may have many matches.
SLICE = 64
_HALF_LIFE_S = 10.0
_FORGOTTEN_S = 0.001
# What a new peer counts as having used, unless nobody has used as much. Of twenty peers
# that share all the time each has used 0.7 s: a newcomer goes before these.
_NEWCOMER_S = 0.5
# Matches that a slice, and a batch, may find: with a large k these take the time.
_BATCH_MATCHES = 1 << 14


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
        rows = max(1, min(SLICE, _BATCH_MATCHES // self.request.k))
        return self.request.queries[self.searched : self.searched + rows]

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return not self.future.done() and time.monotonic() < self.request.expires_s


@dataclass(eq=False)
class _Peer:
    used_s: float
    since_s: float
    order: int = 0
    waiting: deque[Waiting] = field(default_factory=deque)
    running: int = 0

    def used(self, now_s: float) -> float:
        return self.used_s * 0.5 ** ((now_s - self.since_s) / _HALF_LIFE_S)

    def charge(self, now_s: float, seconds: float) -> None:
        self.used_s, self.since_s = self.used(now_s) + seconds, now_s

    @property
    def queries(self) -> int:
        return _queries(self.waiting)


class FairQueue:
    """The requests that wait, by peer. Not safe for use by several threads.

    Args:
        max_requests: requests that may be unanswered, those being searched included.
        max_queries: queries that may wait; a single request may have more.
        clock: the time in seconds.
    """

    def __init__(
        self,
        max_requests: int,
        max_queries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_requests = max_requests
        self._max_queries = max_queries
        self._peers: dict[str, _Peer] = {}
        self._clock = clock
        self._order = itertools.count()
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
        victims = self._victims(waiting)
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
        peer at most `SLICE` queries, and `max_batch` queries and `_BATCH_MATCHES` in
        total unless the first slice alone has more.
        """
        batch: list[Waiting] = []
        size = 0
        most = max_batch
        now_s = self._clock()
        peers = (peer for peer in self._peers.values() if peer.waiting)
        for peer in sorted(peers, key=lambda p: (p.used(now_s), p.order)):
            share = 0
            for waiting in list(peer.waiting):
                rows = len(waiting.slice)
                fits = share + rows <= SLICE and size + rows <= most
                if not batch or (fits and _alike(batch[0], waiting)):
                    batch.append(waiting)
                    most = min(max_batch, _BATCH_MATCHES // waiting.request.k)
                    peer.waiting.remove(waiting)
                    peer.running += 1
                    share, size = share + rows, size + rows
        self._running += len(batch)
        return batch

    def put_back(self, batch: list[Waiting], seconds: float) -> None:
        """Charge peers for the time of a batch; what is unfinished waits again."""
        now_s = self._clock()
        rows = [len(waiting.slice) for waiting in batch]
        for waiting, count in zip(batch, rows, strict=True):
            peer = self._peers[waiting.request.peer]
            peer.charge(now_s, seconds * count / sum(rows))
            peer.running -= 1
            waiting.searched += count
        for waiting in reversed(batch):
            if waiting.left and not waiting.future.done():
                self._peers[waiting.request.peer].waiting.appendleft(waiting)
        self._running -= len(batch)
        self._tidy()

    def _enter(self, name: str) -> _Peer:
        now_s = self._clock()
        peer = self._peers.get(name)
        if peer is None:
            most = max((p.used(now_s) for p in self._peers.values()), default=0.0)
            peer = _Peer(min(most, _NEWCOMER_S), now_s)
            self._peers[name] = peer
        if not peer.waiting:
            peer.order = next(self._order)
        return peer

    def _victims(self, newcomer: Waiting) -> list[Waiting]:
        """Choose the requests that must give way for the newcomer to fit."""
        mine = self._peers.get(newcomer.request.peer)
        own = list(mine.waiting) if mine else []
        held = {name: list(peer.waiting) for name, peer in self._peers.items()}
        victims: list[Waiting] = []

        def left() -> list[Waiting]:
            return [waiting for one in held.values() for waiting in one]

        def displace(weight: Callable[[list[Waiting]], int]) -> None:
            heaviest = max(held.values(), key=weight, default=[])
            if weight(heaviest) <= weight([*own, newcomer]):
                raise Overloaded
            victims.append(heaviest.pop())

        while len(left()) + self._running >= self._max_requests:
            displace(len)
        while left() and _queries([*left(), newcomer]) > self._max_queries:
            displace(_queries)
        return victims

    def _tidy(self) -> None:
        """Forget peers that have used next to nothing of late."""
        now_s = self._clock()
        gone = [
            name
            for name, peer in self._peers.items()
            if not peer.waiting and not peer.running and peer.used(now_s) < _FORGOTTEN_S
        ]
        for name in gone:
            del self._peers[name]


def _queries(requests: Iterable[Waiting]) -> int:
    return sum(waiting.left for waiting in requests)


def _alike(a: Waiting, b: Waiting) -> bool:
    one, two = a.request, b.request
    return (one.k, one.threshold) == (two.k, two.threshold) and one.index is two.index
