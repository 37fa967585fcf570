"""What a server remembers about each connection while it has calls."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from index_service.serve.refusal import RETRY_AFTER_MS

# A client that did wrong is slowed to twenty calls per second.
_PENALTY_S = RETRY_AFTER_MS / 1000


@dataclass(eq=False)
class Peer:
    """One connection.

    Attributes:
        name: its address and port.
        calls: number of its calls that are not finished.
        turn: held by the call whose message is being received; the others wait, so that
            a connection takes the memory of one incomplete message.
    """

    name: str
    calls: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _not_before_s: float = 0.0

    def slow_down(self) -> None:
        """Let the next message wait a moment: the client did wrong."""
        self._not_before_s = asyncio.get_running_loop().time() + _PENALTY_S

    @property
    def wait_s(self) -> float:
        """Time that the next message has to wait."""
        return max(0.0, self._not_before_s - asyncio.get_running_loop().time())


class Peers:
    """The connections that have calls."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    @contextmanager
    def call(self, name: str) -> Iterator[Peer]:
        """Count a call of a connection while it runs."""
        peer = self._peers.setdefault(name, Peer(name))
        peer.calls += 1
        try:
            yield peer
        finally:
            peer.calls -= 1
            self._forget(peer)

    def _forget(self, peer: Peer) -> None:
        """Forget a connection without calls, but not before its penalty is over."""
        if peer.calls or self._peers.get(peer.name) is not peer:
            return
        if peer.wait_s:
            asyncio.get_running_loop().call_later(peer.wait_s, self._forget, peer)
        else:
            del self._peers[peer.name]
