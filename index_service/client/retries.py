"""When to retry a call, and how long to wait before it.

Backoff, jitter and the time limit are tenacity's. Ours is what it does not have: the
choice of a replica (`ShardClient`), and `Pace`, which outlives a call.
"""

import time
from collections.abc import Callable

import grpc
import tenacity

_FIRST_WAIT_S = 0.05
_MAX_WAIT_S = 5.0
_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


def is_transient(error: grpc.RpcError) -> bool:
    """Return whether another replica, or the same one later, may answer."""
    return error.code() in _TRANSIENT or is_overload(error)


def is_overload(error: grpc.RpcError) -> bool:
    """Return whether a server is overloaded; a message too large is another error."""
    exhausted = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return exhausted and "larger than max" not in (error.details() or "")


def retrying(
    patience_s: float, sleep: Callable[[float], None] = time.sleep
) -> tenacity.Retrying:
    """Return a retrier of `grpc.RpcError`: exponential backoff with full jitter.

    Full jitter keeps clients that failed together from retrying together.

    Args:
        patience_s: no attempt starts later than this after the first.
        sleep: waits; tests pass a fake clock.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(grpc.RpcError),
        wait=tenacity.wait_random_exponential(_FIRST_WAIT_S, _MAX_WAIT_S),
        stop=tenacity.stop_before_delay(patience_s),
        sleep=sleep,
        reraise=True,
    )


class Pace:
    """The pause before each call: longer while servers are overloaded.

    Retries alone would not do: under overload a client whose every second attempt
    succeeds would keep sending at full speed. A refusal doubles the pause (from 10 ms
    to at most 2 s), an answer takes a quarter of it away.
    """

    _MIN_S, _MAX_S = 0.01, 2.0

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self.pause_s = 0.0
        self.slept_s = 0.0

    def wait(self) -> None:
        """Pause before a call."""
        if self.pause_s:
            self._sleep(self.pause_s)
            self.slept_s += self.pause_s

    def slow_down(self) -> None:
        """Lengthen the pause: a server refused a call."""
        self.pause_s = min(self._MAX_S, max(self._MIN_S, self.pause_s * 2))

    def speed_up(self) -> None:
        """Shorten the pause: a server answered."""
        self.pause_s *= 0.75
        if self.pause_s < self._MIN_S:
            self.pause_s = 0.0
