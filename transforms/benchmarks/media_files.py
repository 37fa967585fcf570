"""Find the file of a benchmark clip in a folder, however people named it."""

import posixpath
import unicodedata
from collections.abc import Iterable

from clipseed.errors import InputError
from clipseed.io.listing import list_files
from transforms.benchmarks.registry import BenchmarkClip

# If a clip has two files, the one that may hold pictures is taken.
_SOUND_ALONE = frozenset({".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac"})


class MediaFiles:
    """The files of a folder, by name with and without suffix.

    Args:
        folder: local or `gs://`; folders in it are looked into.

    Raises:
        InputError: `not_found`, `unreadable`.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files = _by_name(list_files(folder))

    def find(self, clip: BenchmarkClip) -> str:
        """Return a clip's file, named by its id or its video (AudioSet puts Y first).

        Raises:
            InputError: `not_found`, with the names that were looked for.
        """
        names = tuple(dict.fromkeys((clip.clip_id, clip.media, f"Y{clip.media}")))
        for name in names:
            if _plain(name) in self._files:
                return self._files[_plain(name)]
        raise InputError(
            "not_found", f"{self._folder} has no file named {' or '.join(names)}."
        )


def _by_name(files: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for uri in sorted(files, key=_takes_precedence):
        name = _plain(posixpath.basename(uri))
        for key in (name, posixpath.splitext(name)[0]):
            found.setdefault(key, uri)
    return found


def _takes_precedence(uri: str) -> tuple[bool, str]:
    return posixpath.splitext(uri)[1].lower() in _SOUND_ALONE, uri


def _plain(name: str) -> str:
    # Some file systems take accents apart from their letters.
    return unicodedata.normalize("NFC", name)
