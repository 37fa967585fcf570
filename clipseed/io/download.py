"""A local path for any video: what FFmpeg reads must lie on this machine.

    with local_copy("https://host/film.mp4", FetchConfig()) as path:
        ...

FFmpeg could open URLs itself, but to any address and for any time.
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
_copies = DownloadCache()


@contextlib.contextmanager
def local_copy(uri: str, config: FetchConfig) -> Iterator[str]:
    """Gives a local path: the file itself, or a copy on the scratch disk.

    The copy keeps the name's suffix, which some decoders look at. This process may keep
    it for those who ask next, until `copies_deleted` or its end.

    Args:
        uri: a local path, `gs://`, `http://` or `https://`.
        config: bounds of a download, `scratch_bytes` of all copies; `max_bytes` is for
            images and not looked at.

    Raises:
        InputError: as `storage.localize` and `DownloadCache.use`, and for URLs as
            `fetch.download`.
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

    with _copies.use(uri, _suffix(uri), fetch, config.scratch_bytes) as path:
        yield path


@contextlib.contextmanager
def copies_deleted() -> Iterator[None]:
    """Deletes the copies kept by this process at the end, whatever happens."""
    try:
        yield
    finally:
        _copies.empty()


def _suffix(uri: str) -> str:
    """The suffix of a name's path if it looks like one, else ""."""
    try:
        suffix = posixpath.splitext(urlsplit(uri).path)[1]
    except ValueError:  # no URL; the download says so
        return ""
    return suffix if _SUFFIX.fullmatch(suffix) else ""


@contextlib.contextmanager
def local_tree(uri: str) -> Iterator[str]:
    """Gives the folder itself, or a scratch copy of it deleted at the end.

    Example:
        with local_tree("gs://bucket/models/mobilenet") as path:
            model = load(path)

    Raises:
        InputError: `not_found` when nothing is there, `unreadable`, `scratch_full`.
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
                    "unreadable", f"{root}{name}: take '..' out of the name"
                )
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with refusing_when_full(root + name):
                copy_object(root + name, path)
        yield folder
