"""A local path for any video, because FFmpeg reads local files only.

    with local_copy("https://host/film.mp4", FetchConfig()) as path:
        ...

FFmpeg could open URLs itself, but without the SSRF guard and without a deadline.
"""

import contextlib
import os
import posixpath
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from clipseed.errors import InputError
from clipseed.io.download_cache import DownloadCache, MakeRoom
from clipseed.io.gcs import copy_object, is_gs
from clipseed.io.http import FetchConfig, download, is_web
from clipseed.io.listing import list_files
from clipseed.io.scratch import refusing_when_full, scratch_folder
from clipseed.io.storage import localize

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_downloads = DownloadCache()


@contextlib.contextmanager
def local_copy(uri: str, config: FetchConfig) -> Iterator[str]:
    """Yield a local path: the file itself, or a copy on the scratch disk.

    The copy keeps the suffix of the name, which some decoders look at. It may stay in
    this process's download cache until `downloads_deleted` or the end of the process.

    Args:
        uri: a local path, `gs://`, `http://` or `https://`.
        config: bounds of a download, and `scratch_bytes` of all copies; `max_bytes` is
            for images and is ignored.

    Raises:
        InputError: as `storage.localize` and `DownloadCache.use`, and for URLs as
            `http.download`.
    """
    if not (is_web(uri) or uri.startswith("gs://")):
        with localize(uri) as path:
            yield path
        return

    def fetch(path: str, make_room: MakeRoom) -> None:
        if is_web(uri):
            download(uri, path, config, config.scratch_bytes, make_room=make_room)
        else:
            copy_object(uri, path, make_room)

    with _downloads.use(uri, _suffix(uri), fetch, config.scratch_bytes) as path:
        yield path


@contextlib.contextmanager
def downloads_deleted() -> Iterator[None]:
    """Empty this process's download cache at the end of the block, also on errors."""
    try:
        yield
    finally:
        _downloads.empty()


def _suffix(uri: str) -> str:
    """Return the suffix of a name's path if it looks like one, else ""."""
    try:
        suffix = posixpath.splitext(urlsplit(uri).path)[1]
    except ValueError:  # not a URL; the download reports it
        return ""
    return suffix if _SUFFIX.fullmatch(suffix) else ""


@contextlib.contextmanager
def local_tree(uri: str) -> Iterator[str]:
    """Yield the folder itself, or a scratch copy of it that is deleted at the end.

    Example:
        with local_tree("gs://bucket/models/mobilenet") as path:
            model = load(path)

    Raises:
        InputError: `not_found` for a missing folder, `unreadable`, `scratch_full`.
    """
    if not is_gs(uri):
        yield uri
        return
    root = uri.rstrip("/") + "/"
    with scratch_folder() as folder:
        names = [name.removeprefix(root) for name in list_files(root)]
        for name in names:
            if ".." in name.split("/"):
                raise InputError(
                    "unreadable",
                    f"{root}{name} has '..' in its name and would be written outside "
                    "the copy; rename the object",
                )
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with refusing_when_full(root + name):
                copy_object(root + name, path)
        yield folder
