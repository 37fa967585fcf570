"""Folders on the scratch disk: the system's folder for temporary files (`TMPDIR`).

    with scratch_folder() as folder:
        ...  # deleted at the end, whatever happens

A process that is killed deletes nothing. So each folder is locked by the process that
made it, and the next process on the machine deletes those whose maker is gone.
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

# What starts so is swept away: nothing that a user would name a folder of their own.
PREFIX = ".clipseed-scratch-"
# Between the making of a folder and its locking it looks as if its maker were gone.
_YOUNG_S = 60.0
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Makes a folder, and deletes it with all that is in it."""
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
    """Whether an error says that a disk, or what one may use of it, is full."""
    return error.errno in _FULL


def no_room(uri: str) -> InputError:
    """The `InputError` of a file that the scratch disk has no room for."""
    return InputError(
        "scratch_full",
        f"{uri}: no room for a copy of it on the disk of {tempfile.gettempdir()}; free "
        "some, or set TMPDIR to a folder on a larger disk",
    )


@contextlib.contextmanager
def refusing_when_full(uri: str) -> Iterator[None]:
    """Turns the error of a full disk into the `InputError` of the file copied to it."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise no_room(uri) from error
        raise


@functools.cache
def _sweep(root: str) -> None:
    """Deletes, once a process, what killed processes left."""
    for folder in glob.glob(os.path.join(glob.escape(root), f"{PREFIX}*")):
        with contextlib.suppress(OSError):  # Of another user, or swept by another.
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
