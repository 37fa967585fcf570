"""A local path for any video: what FFmpeg reads must lie on this machine.

    with local_copy("https://host/film.mp4", FetchConfig()) as path:
        ...

FFmpeg could open URLs itself, but to any address and for any time.
"""

import contextlib
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from urllib.parse import urlsplit

from transforms.fetch import FetchConfig, download, is_web
from transforms.storage import localize

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
# A film of some hours in high definition; less than a worker's scratch disk.
_MAX_BYTES = 16 * 2**30


@contextlib.contextmanager
def local_copy(
    uri: str, config: FetchConfig, max_bytes: int = _MAX_BYTES
) -> Iterator[str]:
    """Gives a local path: the file itself, or a scratch copy deleted at the end.

    The copy keeps the name's suffix, which some decoders look at.

    Args:
        uri: a local path, `gs://`, `http://` or `https://`.
        config: bounds of a download; its `max_bytes` is for images and not looked at.
        max_bytes: size of a download.

    Raises:
        Reject: as `storage.localize`, and for URLs as `fetch.download`.
    """
    if not is_web(uri):
        with localize(uri) as path:
            yield path
        return
    with tempfile.TemporaryDirectory(prefix="clipseed-") as scratch:
        path = os.path.join(scratch, "copy" + _suffix(uri))
        download(uri, path, config, max_bytes)
        yield path


def _suffix(url: str) -> str:
    """The suffix of a URL's path if it looks like one, else ""."""
    try:
        suffix = posixpath.splitext(urlsplit(url).path)[1]
    except ValueError:  # no URL; the download says so
        return ""
    return suffix if _SUFFIX.fullmatch(suffix) else ""
