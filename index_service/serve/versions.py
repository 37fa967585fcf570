"""The index that is served, swapped for another while queries run."""

import logging
import threading
from pathlib import Path

from clipseed.errors import InputError
from index_service.search.searcher import Searcher, load_index


class Versions:
    """Holds the current version of an index.

    A query takes the searcher once and keeps it to its end; the old version's memory
    is given back when the last such query has ended.

    Args:
        directory: an index, or one shard of one.

    Raises:
        InputError: `damaged_index`, with the file's name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._given = directory  # May be a link that points elsewhere later.
        self._searcher = load_index(directory)
        self._loading = threading.Lock()
        self.reloads = 0

    @property
    def current(self) -> Searcher:
        """The searcher to answer the next query with."""
        return self._searcher

    def reload(self, directory: str = "", other_embedder: bool = False) -> str:
        """Load a version beside the current one, then swaps.

        Args:
            directory: its name beside the directory served now, or its path there;
                empty: what the directory given at the start holds or points to now.
            other_embedder: take it also if embedder or dimension differ.

        Returns:
            The version that was served before.

        Raises:
            InputError: `damaged_index`, `embedder_mismatch`, or `forbidden_directory`
                for one that does not lie beside the one served. The old one goes on.
        """
        with self._loading:
            place = self._place(directory)
            old = self._searcher.manifest
            wanted = (
                (None, None) if other_embedder else (old.embedder_id, old.dimension)
            )
            searcher = load_index(place, *wanted)
            self._searcher, self._directory = searcher, place
            self.reloads += 1
        logging.info("index %s after %s, from %s", searcher.version, old.version, place)
        return old.version

    def _place(self, directory: str) -> Path:
        if not directory:
            return self._given.resolve()
        place = (self._directory.parent / directory).resolve()
        if place.parent != self._directory.parent:
            raise InputError(
                "forbidden_directory",
                f"{directory} does not lie beside {self._directory}; copy it there",
            )
        return place
