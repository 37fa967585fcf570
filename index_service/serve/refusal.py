"""Why a call is not answered."""

import grpc

from clipseed.errors import InputError

RETRY_HINT = "retry-after-ms"
RETRY_AFTER_MS = 50


class Refusal(Exception):
    """A call that is not answered.

    Attributes:
        code: gRPC status.
        reason: a stable snake_case name, counted in the metrics.
        message: what is wrong and what to do about it.
        fault: whether the client did wrong, rather than the server having too much to
            do. The next call of a client at fault waits a moment.
    """

    def __init__(
        self, code: grpc.StatusCode, reason: str, message: str, fault: bool = True
    ) -> None:
        super().__init__(reason, message)
        self.code = code
        self.reason = reason
        self.message = message
        self.fault = fault


def bad_request(error: InputError) -> Refusal:
    """Refuse a request that no server would answer."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, error.reason, error.message)


def overloaded(reason: str, what: str) -> Refusal:
    """Refuse a request that could be answered later, or by another replica."""
    return Refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason,
        f"{what}; retry later, or add replicas",
        fault=False,
    )


def too_late(reason: str, message: str, fault: bool = True) -> Refusal:
    """Refuse a call whose time is over."""
    return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, reason, message, fault)
