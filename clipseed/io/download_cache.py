"""Copies of remote files, each made once for all who use it at about the same time.

    copies = DownloadCache()
    with copies.use("gs://bucket/film.mp4", ".mp4", fetch, limit_bytes=2**34) as path:
        ...

A copy is kept after its use, so that the parts of a film fetch it once, while all that
are kept take no more of the disk than is left free on it for others. What was not used
for longest goes first.

When the room ends, copies in use are waited for: one after the other has the scratch
disk to itself. Only a file that finds no room alone is refused.
"""

import atexit
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from clipseed.errors import InputError
from clipseed.io.scratch import is_full, no_room, refusing_when_full, scratch_folder

MakeRoom = Callable[[int], None]
Fetch = Callable[[str, MakeRoom], None]


class _Crowded(Exception):
    """There would be room if others had ended."""


@dataclass(eq=False)
class _Copy:
    """A file on the scratch disk; `bytes` is what it has, or has asked for."""

    path: str
    users: int = 1
    bytes: int = 0
    is_fetched: bool = False
    is_whole: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether its room will come free without our doing."""
        return self.is_fetched or (self.is_whole and self.users > 0)

    @property
    def is_idle(self) -> bool:
        return self.is_whole and self.users == 0


class DownloadCache:
    """The copies of one process. A thread must not use two at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._gate = threading.Lock()  # Held by who waits to have the disk alone.
        self._copies: dict[str, _Copy] = {}  # Those not used for longest come first.
        self._folder: str | None = None
        self._made = 0
        self._cleanup = contextlib.ExitStack()
        atexit.register(self._cleanup.close)

    @contextlib.contextmanager
    def use(
        self, key: str, suffix: str, fetch: Fetch, limit_bytes: int
    ) -> Iterator[str]:
        """Gives the path of a copy, which stays until the end of the block at least.

        Args:
            key: the file's name; the same key gives the same copy.
            suffix: of the copy's name.
            fetch: `fetch(path, make_room)` writes the file; it calls `make_room(size)`
                before the file grows to so many bytes, and may do so several times.
            limit_bytes: of all copies, kept or in use.

        Raises:
            InputError: `too_large` above the limit, `scratch_full` when the disk has no
                room for this copy alone, and what `fetch` raises.
        """
        copy = self._claim(key, suffix)
        try:
            if not copy.is_whole:
                self._fill(copy, key, fetch, limit_bytes)
            yield copy.path
        finally:
            self._release(key, copy)

    def empty(self) -> None:
        """Deletes what nobody uses."""
        with self._changed:
            self._evict(lambda: True)
            if not self._copies:
                self._cleanup.close()
                self._folder = None

    def _claim(self, key: str, suffix: str) -> _Copy:
        """The copy, whole, or for the caller to make; waits while another makes it."""
        with self._changed:
            while (copy := self._copies.get(key)) is not None:
                if copy.is_whole:
                    self._copies[key] = self._copies.pop(key)  # The last to go.
                    copy.users += 1
                    return copy
                self._changed.wait()
            self._made += 1
            path = os.path.join(self._open_folder(key), f"{self._made}{suffix}")
            copy = self._copies[key] = _Copy(path)
            return copy

    def _open_folder(self, key: str) -> str:
        if self._folder is None:
            with refusing_when_full(key):
                self._folder = self._cleanup.enter_context(scratch_folder())
        return self._folder

    def _fill(self, copy: _Copy, key: str, fetch: Fetch, limit_bytes: int) -> None:
        with self._gate:
            copy.is_fetched = True
        try:
            self._attempt(copy, key, fetch, limit_bytes)
            return
        except _Crowded:
            pass
        with self._gate:
            with self._changed:
                self._changed.wait_for(
                    lambda: not any(other.is_busy for other in self._copies.values())
                )
                self._evict(lambda: True)
                copy.is_fetched = True
            try:
                self._attempt(copy, key, fetch, limit_bytes)
            except _Crowded as error:
                raise no_room(key) from error

    def _attempt(self, copy: _Copy, key: str, fetch: Fetch, limit_bytes: int) -> None:
        try:
            fetch(copy.path, partial(self._make_room, copy, key, limit_bytes))
            copy.is_whole = True
        except OSError as error:
            if is_full(error):
                raise _Crowded from error
            raise
        finally:
            with self._changed:
                copy.is_fetched = False
                if not copy.is_whole:
                    _delete(copy)
                self._changed.notify_all()

    def _make_room(
        self, copy: _Copy, key: str, limit_bytes: int, size_bytes: int
    ) -> None:
        if size_bytes > limit_bytes:
            raise InputError(
                "too_large",
                f"{key} has more than the {limit_bytes} bytes that copies may take "
                "on the scratch disk (--scratch_gib)",
            )

        def is_over() -> bool:
            return sum(other.bytes for other in self._copies.values()) > limit_bytes

        with self._changed:
            copy.bytes = size_bytes
            self._evict(is_over)
            if is_over():
                raise _Crowded

    def _release(self, key: str, copy: _Copy) -> None:
        with self._changed:
            copy.users -= 1
            if not copy.is_whole:
                del self._copies[key]
            self._evict(partial(self._crowds_others, os.path.dirname(copy.path)))
            self._changed.notify_all()

    def _crowds_others(self, folder: str) -> bool:
        kept_bytes = sum(copy.bytes for copy in self._copies.values() if copy.is_idle)
        return kept_bytes > shutil.disk_usage(folder).free

    def _evict(self, is_needed: Callable[[], bool]) -> None:
        """Deletes idle copies while there are any and it is needed."""
        for key, copy in list(self._copies.items()):
            if copy.is_idle and is_needed():
                del self._copies[key]
                _delete(copy)


def _delete(copy: _Copy) -> None:
    copy.bytes = 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(copy.path)
