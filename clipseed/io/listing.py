"""Files in a folder or matching a glob, local or in Google Cloud Storage.

    for uri in list_files("gs://bucket/videos/**/*.mp4"):
        with localize(uri) as path:
            ...

`glob` and Beam's `FileSystems.match` do not do: the first reads no bucket, and neither
lists a folder recursively, leaves out hidden files, or survives a cycle of links.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from clipseed.errors import InputError
from clipseed.io.gcs import bucket_and_key, input_errors, is_gs
from clipseed.io.storage import is_remote

_GLOB = re.compile(r"[*?\[]")


def list_files(folder_or_glob: str) -> list[str]:
    """List the files in a folder (recursively), or those that match a glob.

    `*`, `?` and `[...]` match within one name, `**` any number of folders. Hidden files
    and folders are left out, and so are sockets and devices. Links are followed, each
    folder once. A broken link is listed, so that opening it reports why it fails.

    Returns:
        Names that start as `folder_or_glob` does, sorted.

    Raises:
        InputError: `not_found` for a missing folder, or when nothing matches a glob.
    """
    if not is_gs(folder_or_glob) and os.path.isfile(folder_or_glob):
        return [folder_or_glob]
    root, patterns = _split_glob(folder_or_glob)
    with input_errors(folder_or_glob):
        if is_gs(root):
            names = _walk_bucket(root)
        else:
            depth = None if "**" in patterns else len(patterns)
            names = _walk(root or ".", depth, set())
        found = [name for name in names if _matches(name.split("/"), patterns)]
    if not found and (is_remote(root) or _GLOB.search(folder_or_glob)):
        raise InputError(
            "not_found", f"no file matches {folder_or_glob}; check the name"
        )
    base = root if root.endswith("/") or not root else root + "/"
    return sorted(base + name if name else root for name in found)


def _split_glob(pattern: str) -> tuple[str, list[str]]:
    """Split `"a/b/*.mp4"` into `("a/b", ["*.mp4"])`; a folder is `**` below itself."""
    parts = pattern.split("/")
    magic = [index for index, part in enumerate(parts) if _GLOB.search(part)]
    if not magic or (not is_remote(pattern) and os.path.isdir(pattern)):
        return pattern, ["**"]
    root = "/".join(parts[: magic[0]])
    return root or pattern[: magic[0]], parts[magic[0] :]


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**" and _matches(names, patterns[1:]):
        return True
    if not names:
        return False
    if patterns[0] == "**":
        return _matches(names[1:], patterns)
    return fnmatchcase(names[0], patterns[0]) and _matches(names[1:], patterns[1:])


def _walk(folder: str, depth: int | None, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield names under a folder, relative to it, at most `depth` levels down."""
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:  # a link back up, or a second way here
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        try:
            mode = entry.stat().st_mode
        except OSError:
            mode = stat.S_IFREG  # a broken link
        if stat.S_ISREG(mode):
            yield entry.name
        elif stat.S_ISDIR(mode) and depth != 1:
            below = _walk(entry.path, depth and depth - 1, seen)
            yield from (f"{entry.name}/{name}" for name in below)


def _walk_bucket(root: str) -> Iterator[str]:
    """Yield names of objects under a `gs://` prefix, relative to it; "" for itself."""
    bucket, key = bucket_and_key(root.rstrip("/"))
    folder = key + "/" if key else ""
    fields = "items(name),nextPageToken"
    for blob in bucket.list_blobs(prefix=key, fields=fields):
        if blob.name == key and not key.endswith("/"):
            yield ""
        name = blob.name.removeprefix(folder)
        is_marker = name.endswith("/") or not name  # Consoles create empty folders so.
        if not blob.name.startswith(folder) or is_marker or re.search(r"(^|/)\.", name):
            continue
        yield name
