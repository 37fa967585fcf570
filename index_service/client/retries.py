"""When to ask again, whom, and how long to wait."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

_ELSEWHERE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


def is_worth_another_try(error: grpc.RpcError) -> bool:
    """Return whether another replica, or the same one later, may answer."""
    return error.code() in _ELSEWHERE or is_overload(error)


def is_overload(error: grpc.RpcError) -> bool:
    """Return whether a server is overloaded; a message too large is another error."""
    exhausted = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return exhausted and "larger than max" not in (error.details() or "")


@dataclass
class Backoff:
    """Waits between tries: longer each time, never two clients in step.

    Attributes:
        patience_s: after this long no further try is made.
        first_s: longest first wait; it doubles from try to try.
        most_s: longest wait.
        clock: seconds.
        sleep: waits.
        chance: a random number in [0, 1).
    """

    patience_s: float = 120.0
    first_s: float = 0.05
    most_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = field(default_factory=lambda: random.Random().random)

    def waits(self) -> "Waits":
        """The waits of one call."""
        return Waits(self)


class Waits:
    """The waits of one call; see `Backoff`."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._began_s = backoff.clock()
        self._tries = 0

    def another(self) -> bool:
        """Wait (full jitter), then says True; False when patience is at an end."""
        backoff = self._backoff
        longest = min(backoff.most_s, backoff.first_s * 2**self._tries)
        wait_s = longest * backoff.chance()
        self._tries += 1
        if backoff.clock() - self._began_s + wait_s > backoff.patience_s:
            return False
        backoff.sleep(wait_s)
        return True


class Pace:
    """Slows a client down while servers refuse, and lets it speed up again.

    A refusal doubles the pause before each call (from 10 ms, to 2 s at most), an answer
    takes a quarter of it away.
    """

    _LEAST_S, _MOST_S = 0.01, 2.0

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self.pause_s = 0.0
        self.slept_s = 0.0

    def wait(self) -> None:
        """Pause before a call."""
        if self.pause_s:
            self._sleep(self.pause_s)
            self.slept_s += self.pause_s

    def refused(self) -> None:
        """A server had too much to do."""
        self.pause_s = min(self._MOST_S, max(self._LEAST_S, self.pause_s * 2))

    def answered(self) -> None:
        """A server answered."""
        self.pause_s *= 0.75
        if self.pause_s < self._LEAST_S:
            self.pause_s = 0.0
