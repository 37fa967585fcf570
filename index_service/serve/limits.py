"""The limits of a server: what one call, one client, and all of them may cost.

The memory that clients can make a server take is bounded by these: per connection one
message being received and `max_requests_per_peer` calls; in total `max_connections`,
the requests that wait, and `max_unread_bytes`.
"""

import os

from clipseed.flags import flag, flags


def _spare_cores() -> int:
    return max(1, len(os.sched_getaffinity(0)) - 1)


@flags
class Limits:
    """Limits."""

    max_message_bytes: int = flag(
        "Maximum size of a request", unit="bytes", default=8 << 20, at_least=1
    )
    max_queries: int = flag(
        "Maximum number of queries per request", default=1024, at_least=1
    )
    max_k: int = flag("Maximum number of matches per query", default=10_000, at_least=1)
    max_matches: int = flag(
        "Maximum number of matches per request: queries times k",
        default=1 << 16,
        at_least=1,
    )
    max_work: float = flag(
        "Maximum work per request, in billions of multiply-adds, as estimated from its "
        "queries and the index",
        default=500.0,
        at_least=0,
    )
    max_answer_s: float = flag(
        "Time in which a request must be answered, whatever its client's deadline",
        unit="seconds",
        default=60.0,
        at_least=0,
    )
    max_body_s: float = flag(
        "Time in which a call's message must arrive, and its answer be received",
        unit="seconds",
        default=5.0,
        at_least=0,
    )
    max_connections: int = flag(
        "Maximum number of connections; more are closed", default=1024, at_least=1
    )
    max_requests_per_peer: int = flag(
        "Calls of one connection at a time; its client waits with more",
        default=32,
        at_least=1,
    )
    max_requests: int = flag(
        "Requests answered at a time; more are refused, those of the peer that holds "
        "the most first",
        default=64,
        at_least=1,
    )
    max_waiting: int = flag(
        "Queries that may wait; more are refused in the same order",
        default=8192,
        at_least=1,
    )
    max_unread_bytes: int = flag(
        "Size of the answers that clients have not received yet; when it is exceeded, "
        "the oldest one is dropped",
        unit="bytes",
        default=32 << 20,
        at_least=0,
    )
    max_batch: int = flag(
        "Maximum number of queries searched at once", default=128, at_least=1
    )
    threads: int = flag(
        "Threads that search",
        default_factory=_spare_cores,
        default_text="the number of cores less one",
        at_least=1,
    )
    audit_one_in: int = flag(
        "One request in so many is also searched exactly; 0: none",
        default=1000,
        at_least=0,
    )
