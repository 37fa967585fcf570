"""Counts of the work done in this process, shown on the terminal."""

import threading
from collections import Counter

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def add(name: str, count: int = 1) -> None:
    """Count work done: `videos`, `frames`, `clips`."""
    with _lock:
        _counts[name] += count


def snapshot() -> Counter[str]:
    """Return the counts so far."""
    with _lock:
        return Counter(_counts)


def reset() -> None:
    """Set the counts to zero, for a new run."""
    with _lock:
        _counts.clear()
