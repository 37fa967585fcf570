"""Folders on the scratch disk: the system's folder for temporary files (`TMPDIR`).

    with scratch_folder() as folder:
        ...  # deleted at the end, also on errors

A process that is killed deletes nothing. Therefore each folder is locked by the process
that created it, and the next process on the machine deletes the unlocked ones.
"""

import contextlib
import errno
import fcntl
import functools
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

from clipseed.errors import InputError

# Folders with this prefix are swept, so it must not be a name that a user would choose.
PREFIX = ".clipseed-scratch-"
# A folder that was just created is not locked yet and would look abandoned.
_YOUNG_S = 60.0
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Create a folder, and delete it with its content at the end of the block."""
    _sweep(tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix=PREFIX)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def is_full(error: OSError) -> bool:
    """Return whether an error means that a disk, or the quota on it, is full."""
    return error.errno in _FULL


def no_room(uri: str) -> InputError:
    """Return the `InputError` of a file that the scratch disk has no room for."""
    return InputError(
        "scratch_full",
        f"{uri}: the disk of {tempfile.gettempdir()} has no room for a copy; free "
        "some space, or set TMPDIR to a folder on a larger disk",
    )


@contextlib.contextmanager
def refusing_when_full(uri: str) -> Iterator[None]:
    """Turn the error of a full disk into the `InputError` of the file being copied."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise no_room(uri) from error
        raise


@functools.cache
def _sweep(root: str) -> None:
    """Delete, once per process, the folders that killed processes left."""
    for folder in glob.glob(os.path.join(glob.escape(root), f"{PREFIX}*")):
        with contextlib.suppress(OSError):  # Another user's, or being swept.
            if not _is_abandoned(folder):
                continue
            shutil.rmtree(folder)


def _is_abandoned(folder: str) -> bool:
    if time.time() - os.stat(folder).st_mtime < _YOUNG_S:
        return False
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
