"""The rule that a bad input never affects other inputs, and its limit.

Whatever goes wrong while an input is decoded is a dead letter of that input: FFmpeg,
PyAV and our own code meet bytes that nobody foresaw, and no list of exceptions is ever
complete. The price is that a bug of ours looks like a bad input. So what nobody
expected is counted, and where too many of the first inputs end that way the job stops:
then the fault is not theirs.
"""

import errno
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from clipseed.errors import InputError

DECODER_ERROR = "decoder_error"
DECODER_CRASHED = "decoder_crashed"
DECODER_MEMORY = "decoder_memory"
UNEXPECTED = frozenset({DECODER_ERROR, DECODER_CRASHED, DECODER_MEMORY})

MAX_FAILED_SHARE = 0.5

_LONGEST_MESSAGE = 300


def contained(function: Callable[..., Iterator[Any]], *args: object) -> Iterator[Any]:
    """Yield what `function(*args)` yields; whatever it raises is an `InputError`.

    Raises:
        InputError: what the function raised, `decoder_memory` or `decoder_error`.
    """
    try:
        yield from function(*args)
    except (InputError, GeneratorExit):
        raise
    except Exception as error:
        raise unexpected(error) from error


def unexpected(error: Exception) -> InputError:
    """Return the `InputError` of an exception that nobody foresaw."""
    if isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM:
        return InputError(
            DECODER_MEMORY, "The decoder asked for more memory than it may have."
        )
    what = f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
    return InputError(
        DECODER_ERROR,
        f"The decoder failed unexpectedly: {what}. This input was left out; please "
        "report the message, with the file if you may share it.",
    )


class TooManyFailures(RuntimeError):
    """The decoder fails on so many inputs that the fault is not theirs."""


def fault_in(text: str) -> str:
    """Return the message of a `TooManyFailures` in what a runner raised; "" for none.

    Runners raise errors of their own, with the text of the worker's inside.
    """
    found = re.search(
        rf"{TooManyFailures.__name__}: (.*?)(?: \[while running|\n|$)", text
    )
    return found[1] if found else ""


class Canary:
    """Counts inputs that failed unexpectedly, and stops a job in which most do.

    One a process: in a distributed job every worker process judges by what it sees.
    Only the first inputs are judged, so that a bad shard late in a corpus costs
    nothing but itself. Safe for use by several threads.

    Attributes:
        max_share: the job stops when more than this share fails; 1 turns it off.
    """

    at_least = 20
    judged = 1000

    def __init__(self, max_share: float = MAX_FAILED_SHARE) -> None:
        self.max_share = max_share
        self._lock = threading.Lock()
        self._seen = self._failed = 0

    def reset(self) -> None:
        """Forget what was counted."""
        with self._lock:
            self._seen = self._failed = 0

    def count(self, reason: str, message: str = "") -> None:
        """Count an input that ended with a reason, "" for none.

        Raises:
            TooManyFailures: more than `max_share` of the first inputs failed.
        """
        with self._lock:
            if self._seen >= self.judged:
                return
            self._seen += 1
            self._failed += reason in UNEXPECTED
            seen, failed = self._seen, self._failed
        if seen >= self.at_least and failed > self.max_share * seen:
            raise TooManyFailures(
                f"The decoder failed unexpectedly on {failed} of the first {seen} "
                "inputs of this worker: the fault is Clipseed's or the machine's, not "
                f"theirs. The last one, {reason}: {message} If they are as bad as "
                "that, raise --max_failed_share."
            )


canary = Canary()
