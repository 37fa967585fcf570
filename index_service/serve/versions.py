"""The version of the index that is served; it can be swapped while queries run."""

import logging
import threading
from pathlib import Path

from clipseed.errors import InputError
from index_service.search.searcher import Searcher, load_index


class Versions:
    """Holds the current version of an index.

    A query takes the searcher once and keeps it to its end, so its answer is of one
    version; the old version's memory is freed with the last such query.

    Args:
        directory: an index, or one shard of an index.

    Raises:
        InputError: `damaged_index`, with the name of the file.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._link = directory  # May be a link that points elsewhere later.
        self._searcher = load_index(directory)
        self._loading = threading.Lock()
        self.reloads = 0

    @property
    def current(self) -> Searcher:
        """The searcher to answer the next query with."""
        return self._searcher

    def reload(self, directory: str = "", other_embedder: bool = False) -> str:
        """Load a version while the current one still answers, then swap them.

        Args:
            directory: a directory in the same folder as the one served now; "" for the
                directory of the start, which may be a link to another one by now.
            other_embedder: whether embedder and dimension may differ.

        Returns:
            The version that was served before.

        Raises:
            InputError: `damaged_index`, `embedder_mismatch`, `forbidden_directory`
                for one in another folder, or `reloading` while another reload runs,
                because each holds one more index in memory. The old version is still
                served then.
        """
        if not self._loading.acquire(blocking=False):
            raise InputError("reloading", "another reload is running; wait for its end")
        try:
            place = self._place(directory)
            old = self._searcher.manifest
            wanted = (
                (None, None) if other_embedder else (old.embedder_id, old.dimension)
            )
            searcher = load_index(place, *wanted)
            self._searcher, self._directory = searcher, place
            self.reloads += 1
        finally:
            self._loading.release()
        logging.info("index %s after %s, from %s", searcher.version, old.version, place)
        return old.version

    def _place(self, directory: str) -> Path:
        if not directory:
            return self._link.resolve()
        place = (self._directory.parent / directory).resolve()
        if place.parent != self._directory.parent:
            raise InputError(
                "forbidden_directory",
                f"{directory} is not in {self._directory.parent}; copy it there",
            )
        return place
