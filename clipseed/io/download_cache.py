"""The download cache: one scratch copy per remote file, shared by all who use it.

    cache = DownloadCache()
    with cache.use("gs://bucket/film.mp4", ".mp4", fetch, limit_bytes=2**34) as path:
        ...

States of a copy, and what ends each:

    absent ──use──► fetching ──whole──► in use ──last user leaves──► idle ──evicted──►
                       │ └─ crowded: deleted, retried alone            │  (absent)
                       └─ failed: deleted (absent)                     └──use──► in use

Each rule prevents one failure:

- Only one thread fetches a file, and others wait for it. Otherwise the parts of a film,
  which many threads sample at once, would download it several times.
- A copy stays cached after its use, because the next part of the film comes soon.
- Idle copies never take more of the disk than they leave free, because other programs
  share the disk. The least recently used is evicted first.
- A fetch that finds no room (the limit, or the disk) raises `_Crowded`: its partial
  copy is deleted, and the fetch is repeated while it has the cache to itself. Otherwise
  two large files that fit one at a time would both fail.
- While one fetch waits for that, no other fetch may start (`_gate`); otherwise small
  files would starve it.
- A thread must not use two copies at a time: it would wait for itself to finish.
- Only a file that has no room even alone fails, with `scratch_full`.

diskcache and similar libraries evict whole files by size, but wait for no user and know
nothing of the disk's free space.
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
    """A fetch had no room, but might have it once other copies are gone."""


@dataclass(eq=False)
class _Copy:
    """A file on the scratch disk; `bytes` is its size, or what it has reserved."""

    path: str
    users: int = 1
    bytes: int = 0
    is_fetching: bool = False
    is_whole: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether its room becomes free without the cache's doing."""
        return self.is_fetching or (self.is_whole and self.users > 0)

    @property
    def is_idle(self) -> bool:
        return self.is_whole and self.users == 0


class DownloadCache:
    """The cache of one process; see the module's docstring."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._gate = threading.Lock()  # Held by a fetch that waits to be alone.
        self._copies: dict[str, _Copy] = {}  # The least recently used comes first.
        self._folder: str | None = None
        self._created = 0
        self._cleanup = contextlib.ExitStack()
        atexit.register(self._cleanup.close)

    @contextlib.contextmanager
    def use(
        self, key: str, suffix: str, fetch: Fetch, limit_bytes: int
    ) -> Iterator[str]:
        """Yield the path of a copy, which exists at least until the end of the block.

        Args:
            key: the file's name; the same key yields the same copy.
            suffix: of the copy's name.
            fetch: `fetch(path, make_room)` writes the file. It calls `make_room(size)`
                before the file grows to that many bytes, as often as it likes.
            limit_bytes: of all copies, idle or in use.

        Raises:
            InputError: `too_large` above the limit, `scratch_full` when the disk has no
                room for this copy alone, and whatever `fetch` raises.
        """
        copy = self._claim(key, suffix)
        try:
            if not copy.is_whole:
                self._fill(copy, key, fetch, limit_bytes)
            yield copy.path
        finally:
            self._release(key, copy)

    def empty(self) -> None:
        """Delete the idle copies."""
        with self._changed:
            self._evict(lambda: True)
            if not self._copies:
                self._cleanup.close()
                self._folder = None

    def _claim(self, key: str, suffix: str) -> _Copy:
        """Return the whole copy, or a new one for the caller to fetch.

        Wait while another thread fetches it.
        """
        with self._changed:
            while (copy := self._copies.get(key)) is not None:
                if copy.is_whole:
                    self._copies[key] = self._copies.pop(key)  # Most recently used.
                    copy.users += 1
                    return copy
                self._changed.wait()
            self._created += 1
            path = os.path.join(self._open_folder(key), f"{self._created}{suffix}")
            copy = self._copies[key] = _Copy(path)
            return copy

    def _open_folder(self, key: str) -> str:
        if self._folder is None:
            with refusing_when_full(key):
                self._folder = self._cleanup.enter_context(scratch_folder())
        return self._folder

    def _fill(self, copy: _Copy, key: str, fetch: Fetch, limit_bytes: int) -> None:
        """Fetch a copy beside others; if there is no room, wait and fetch it alone."""
        with self._gate:
            copy.is_fetching = True
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
                copy.is_fetching = True
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
                copy.is_fetching = False
                if not copy.is_whole:
                    _delete(copy)
                self._changed.notify_all()

    def _make_room(
        self, copy: _Copy, key: str, limit_bytes: int, size_bytes: int
    ) -> None:
        """Reserve room for a copy; evict idle ones while all exceed the limit."""
        if size_bytes > limit_bytes:
            raise InputError(
                "too_large",
                f"{key} has more than the {limit_bytes} bytes that copies may take "
                "on the scratch disk; raise --scratch_gib",
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
        """Return whether idle copies take more of the disk than they leave free."""
        idle_bytes = sum(copy.bytes for copy in self._copies.values() if copy.is_idle)
        return idle_bytes > shutil.disk_usage(folder).free

    def _evict(self, is_needed: Callable[[], bool]) -> None:
        """Delete idle copies, the least recently used first, while it is needed."""
        for key, copy in list(self._copies.items()):
            if copy.is_idle and is_needed():
                del self._copies[key]
                _delete(copy)


def _delete(copy: _Copy) -> None:
    copy.bytes = 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(copy.path)
