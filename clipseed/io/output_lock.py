"""One job at a time writes to an output.

    with locking_output("my_run"):
        ...

The folder itself is locked, so that nothing is left behind, and the lock ends with the
process that holds it, however that ends. A bucket has no locks: two jobs on one `gs://`
output are not noticed. On network file systems it depends on the mount.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipseed.errors import InputError
from clipseed.io.storage import is_remote

_SHOWN_CHARS = 200


@contextmanager
def locking_output(output: str) -> Iterator[None]:
    """Create an output's folder, and hold it for this process.

    Raises:
        InputError: `output_in_use`, with the process that holds it.
        OSError: the folder cannot be created.
    """
    if is_remote(output):
        yield
        return
    is_new = not os.path.isdir(output)
    os.makedirs(output, exist_ok=True)
    folder = os.open(output, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "output_in_use",
                f"{output} is in use by {_holder(folder)}; wait until it ends, or "
                "choose another directory",
            ) from None
        yield
    finally:
        if is_new:
            with suppress(OSError):  # There is something in it.
                os.rmdir(output)
        os.close(folder)


def _holder(folder: int) -> str:
    """Return the process that holds a folder, in words, where Linux shows it."""
    inode = str(os.fstat(folder).st_ino)
    try:
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        pids = [row[4] for row in rows if row[5].rpartition(":")[2] == inode]
        words = Path(f"/proc/{pids[0]}/cmdline").read_bytes().split(b"\0")
    except (OSError, IndexError):
        return "another process, on this machine or another"
    command = " ".join(os.fsdecode(word) for word in words).strip()
    return f"process {pids[0]} ({command[:_SHOWN_CHARS]})"
