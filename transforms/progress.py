"""How far the work in this process has come, for whoever watches the terminal."""

import threading
from collections import Counter

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def add(name: str, count: int = 1) -> None:
    """Count work done: `videos`, `frames`, `clips`."""
    with _lock:
        _counts[name] += count


def snapshot() -> Counter[str]:
    """The counts so far."""
    with _lock:
        return Counter(_counts)


def reset() -> None:
    """Start a new run at zero."""
    with _lock:
        _counts.clear()
