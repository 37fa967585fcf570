"""SIGTERM as an exception, so that a command cleans up and says that it was ended."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM: like Ctrl-C, which everything that cleans up is prepared for."""


@contextmanager
def raising_termination() -> Iterator[None]:
    """Raise `Terminated` in the main thread at SIGTERM.

    The second signal ends the process at once: cleaning up may hang.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: Any) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
