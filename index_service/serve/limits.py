"""The limits of a server."""

import os

from clipseed.flags import flag, flags


def _spare_cores() -> int:
    return max(1, len(os.sched_getaffinity(0)) - 1)


@flags
class Limits:
    """Limits."""

    max_message_bytes: int = flag(
        "Maximum size of a request", unit="bytes", default=16 << 20, at_least=1
    )
    max_queries: int = flag(
        "Maximum number of queries per request", default=4096, at_least=1
    )
    max_k: int = flag("Maximum number of matches per query", default=10_000, at_least=1)
    max_requests: int = flag(
        "Requests answered at a time; more are refused", default=64, at_least=1
    )
    max_waiting: int = flag(
        "Queries that may wait; more are refused", default=8192, at_least=1
    )
    max_batch: int = flag(
        "Maximum number of queries searched at once", default=1024, at_least=1
    )
    threads: int = flag(
        "Threads that search",
        default_factory=_spare_cores,
        default_text="the number of cores less one",
        at_least=1,
    )
    audit_one_in: int = flag(
        "One batch in so many is also searched exactly; 0: none",
        default=1000,
        at_least=0,
    )
