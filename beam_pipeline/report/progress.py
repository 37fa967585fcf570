"""The progress of a run while it is mined: a live line on a terminal, else a log line.

How many videos and frames there will be is not known before they are decoded: progress
is what this process has done so far, and how fast.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
from rich.text import Text

from transforms import progress

_EVERY_S = 60.0


class _Work(ProgressColumn):
    """What has been done, as `line` says it."""

    def render(self, task: Task) -> Text:
        """Return the text of the live line."""
        return Text(line(task.elapsed or 0.0))


@contextmanager
def showing_progress(every_s: float = _EVERY_S) -> Iterator[None]:
    """Show on stderr what this process has done so far.

    Args:
        every_s: seconds from one line to the next where stderr is not a terminal.
    """
    progress.reset()
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (SpinnerColumn(), _Work())
        with Progress(*columns, console=console, transient=True) as live:
            live.add_task("mine", total=None)
            yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_log, args=(done, every_s), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _log(done: threading.Event, every_s: float) -> None:
    start_s = time.monotonic()
    while not done.wait(every_s):
        print(line(time.monotonic() - start_s).strip(), file=sys.stderr, flush=True)


def line(elapsed_s: float) -> str:
    """Return one line on the work done so far in this process."""
    done = progress.snapshot()
    rate = done["frames"] / elapsed_s if elapsed_s else 0
    return (
        f"{elapsed_s:4.0f} s  video parts {done['parts']}  frames {done['frames']} "
        f"({rate:.0f}/s)  clips {done['clips']}"
    )
