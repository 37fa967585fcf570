"""How a job that has to stop says so: in its own line, not by the runner's tracebacks.

Beam logs what a step raises where it was raised, and prints and logs it once more for
each bundle: hundreds of lines. They are held back until it is known whether the command
has a line for it. What it has no line for is a bug, and then they are shown.
"""

import builtins
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from apache_beam.runners.worker import sdk_worker

from clipseed.io.output_errors import output_problem
from transforms.media.isolation.containment import fault_in

_LOGGERS = ("apache_beam.runners.common", sdk_worker.__name__)
_MOST_HELD = 20


def fault_line(error: Exception) -> str:
    """Return what a failed job means for the user, in a line; "" for a bug.

    It is a fault of the machine or of a disk, not of an input.
    """
    return fault_in(str(error)) or output_problem(error)


@contextmanager
def tracebacks_held(is_told: Callable[[Exception], bool]) -> Iterator[None]:
    """Hold back, in the block, what Beam says of failed steps.

    Args:
        is_told: returns whether the command has a line of its own for an exception.
    """
    held: list[logging.LogRecord | str] = []
    try:
        with _holding(held):
            yield
    except Exception as error:
        if is_told(error):
            held.clear()
        raise
    except BaseException:  # Interrupted, or told to exit with a line of its own.
        held.clear()
        raise
    finally:
        _show(held[:_MOST_HELD])


@contextmanager
def _holding(held: list[logging.LogRecord | str]) -> Iterator[None]:
    def hold(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            held.append(record)
        return record.levelno < logging.ERROR

    def hold_print(*words: object, **_: object) -> None:
        held.append(" ".join(map(str, words)))

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.filters.insert(0, hold)  # Before those of a block around this one.
    before = vars(sdk_worker).get("print", builtins.print)
    sdk_worker.print = hold_print  # type: ignore[attr-defined]  # It prints to stderr.
    try:
        yield
    finally:
        sdk_worker.print = before  # type: ignore[attr-defined]
        for logger in loggers:
            logger.removeFilter(hold)


def _show(held: list[logging.LogRecord | str]) -> None:
    for each in held:
        if isinstance(each, str):
            sdk_worker.print(each, file=sys.stderr)  # type: ignore[attr-defined]
        else:
            logging.getLogger(each.name).handle(each)  # Another block may hold it.
