"""Files, local or in Google Cloud Storage, behind one set of functions.

    for uri in list_files("gs://bucket/videos/**/*.mp4"):
        with localize(uri) as path:
            ...
    with writing("gs://bucket/run/clips-00000-of-00010") as path:
        ...  # appears under its name only when the block succeeds

A string without a scheme is a local path. Reading fails with a `Reject` (`not_found`,
`unreadable`, `too_large`, ...); writing fails with whatever the system says, because
an output that cannot be written stops the job. Transient errors of `gs://` are retried
by google-cloud-storage's own `DEFAULT_RETRY` (408, 429, 5xx, connection errors;
exponential backoff for two minutes); what comes whole is checked against its CRC32C.
`STORAGE_EMULATOR_HOST` is honoured.
"""

import contextlib
import errno
import functools
import io
import os
import posixpath
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, BinaryIO, TextIO

from transforms.elements import Reject

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_GLOB = re.compile(r"[*?\[]")
# The machine's troubles, not the input's: dropping inputs for them would lose data.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


# --- names ---------------------------------------------------------------------------


def is_remote(uri: str) -> bool:
    """Whether a name has a scheme (`gs://`, `https://`) and so is no local path."""
    return _SCHEME.match(uri) is not None


def join(root: str, reference: str) -> str:
    """Resolves a reference found in a table that lies in `root`.

    Returns:
        `reference` itself if it is absolute or has a scheme, else its place under
        `root`: `join("gs://b/seeds", "../img/1.jpg") == "gs://b/img/1.jpg"`.
    """
    if is_remote(reference) or os.path.isabs(reference):
        return reference
    if not is_remote(root):
        return os.path.join(root, reference)
    scheme, _, rest = root.partition("://")
    bucket, _, key = rest.partition("/")
    path = posixpath.normpath(f"/{key}/{reference}").lstrip("/")
    return f"{scheme}://{bucket}/{path}"


def parent(uri: str) -> str:
    """The folder that a file lies in; a bucket is its own parent."""
    if not is_remote(uri):
        return os.path.dirname(uri) or "."
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{posixpath.dirname(rest) or rest}"


# --- reading -------------------------------------------------------------------------


def list_files(folder_or_glob: str) -> list[str]:
    """Lists the files in a folder (recursively), or those that match a glob.

    `*`, `?` and `[...]` match within one name, `**` any number of folders. Hidden files
    and folders are left out, and so is what is neither file nor folder. Links are
    followed, each folder once. A broken link is listed: opening it gives the reason.

    Returns:
        Names that start as `folder_or_glob` does, sorted.

    Raises:
        Reject: `not_found` for a missing folder, or when nothing matches a glob.
    """
    if not _is_gs(folder_or_glob) and os.path.isfile(folder_or_glob):
        return [folder_or_glob]
    root, patterns = _split_glob(folder_or_glob)
    with _rejecting(folder_or_glob):
        if _is_gs(root):
            names = _walk_bucket(root)
        else:
            depth = None if "**" in patterns else len(patterns)
            names = _walk(root or ".", depth, set())
        found = [name for name in names if _matches(name.split("/"), patterns)]
    if not found and (is_remote(root) or _GLOB.search(folder_or_glob)):
        raise Reject("not_found", f"no file matches {folder_or_glob}; check the name")
    base = root if root.endswith("/") or not root else root + "/"
    return sorted(base + name if name else root for name in found)


def exists(uri: str) -> bool:
    """Whether a file or a folder of this name is there."""
    if not _is_gs(uri):
        return os.path.exists(uri)
    bucket, key = _bucket_and_key(uri)
    folder = key.rstrip("/") + "/" if key else ""
    with _rejecting(uri):
        if key and bucket.blob(key).exists():
            return True
        return any(True for _ in bucket.list_blobs(prefix=folder, max_results=1))


def read_range(uri: str, offset: int, size: int) -> bytes:
    """Reads `size` bytes at `offset`; `Reject("unreadable")` if the file is shorter."""
    if size == 0:
        return b""
    with _rejecting(uri):
        if _is_gs(uri):
            data = _blob(uri).download_as_bytes(
                start=offset, end=offset + size - 1, raw_download=True
            )
        else:
            with open(uri, "rb") as file:
                file.seek(offset)
                data = file.read(size)
    if len(data) != size:
        raise Reject("unreadable", f"{uri} ends before byte {offset + size}; copy anew")
    return data


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Reads a whole file of at most `max_bytes`, else `Reject("too_large")`."""
    sink = _Bounded(uri, max_bytes)
    with _rejecting(uri):
        if _is_gs(uri):
            _blob(uri).download_to_file(sink)
        else:
            with open(uri, "rb") as file:
                sink.write(file.read(max_bytes + 1))
    return sink.getvalue()


def open_binary(uri: str) -> BinaryIO:
    """Opens a file for reading; from `gs://` it comes in pieces as it is read."""
    with _rejecting(uri):
        if not _is_gs(uri):
            return open(uri, "rb")
        blob = _blob(uri)
        blob.reload()  # so that a missing object is told now, not at the first read
        return blob.open("rb")


def open_text(uri: str) -> TextIO:
    r"""Opens UTF-8 text for reading, with or without a byte order mark.

    Line ends are left as they are (what `csv` asks for). Bytes that are not UTF-8
    become lone surrogates, so that one bad line does not cost the file: a string that
    holds one fails `text.encode()` with UnicodeEncodeError.
    """
    return io.TextIOWrapper(
        open_binary(uri), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


@contextlib.contextmanager
def localize(uri: str) -> Iterator[str]:
    """Gives a local path: the file itself, or a scratch copy deleted at the end.

    The copy keeps the name's suffix, which some decoders look at.
    """
    if not _is_gs(uri):
        if not os.path.isfile(uri):
            reason = "unreadable" if os.path.exists(uri) else "not_found"
            raise Reject(reason, f"{uri} is not a file; check the path")
        yield uri
        return
    with _scratch_folder() as scratch:
        path = os.path.join(scratch, "copy" + posixpath.splitext(uri)[1])
        with _rejecting(uri):
            _blob(uri).download_to_filename(path)
        yield path


# --- writing -------------------------------------------------------------------------


@contextlib.contextmanager
def writing(uri: str) -> Iterator[str]:
    """Gives a local path to write to, and publishes it if the block succeeds.

    A local file is written beside its final name, under a hidden one.
    """
    with contextlib.ExitStack() as cleanup:
        if _is_gs(uri):
            folder = cleanup.enter_context(_scratch_folder())
        else:
            folder = parent(uri)
            os.makedirs(folder, exist_ok=True)
        name = f".{posixpath.basename(uri)}.{uuid.uuid4().hex}.tmp"
        path = os.path.join(folder, name)
        cleanup.callback(remove_tree, path)
        yield path
        publish(path, uri)


def publish(local_path: str, uri: str) -> None:
    """Moves a finished file to its name, at once or not at all; overwrites.

    Local: flushed to disk and renamed, by way of a copy beside the target if that is
    on another file system. `gs://`: uploaded with its CRC32C, then removed here.
    """
    if _is_gs(uri):
        _blob(uri).upload_from_filename(local_path, checksum="crc32c")
        os.unlink(local_path)
        return
    os.makedirs(parent(uri), exist_ok=True)
    _sync(local_path)
    try:
        os.replace(local_path, uri)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with writing(uri) as beside:
            shutil.copyfile(local_path, beside)
        os.unlink(local_path)
    _sync(parent(uri))


def write_bytes(uri: str, data: bytes) -> None:
    """Writes a whole file, at once or not at all; overwrites."""
    with writing(uri) as path, open(path, "wb") as file:
        file.write(data)


def remove_tree(uri: str) -> None:
    """Removes a file, or a folder with all that is in it; nothing if there is none.

    Raises:
        ValueError: for a whole bucket or file system, which nobody means.
    """
    if _is_gs(uri):
        bucket, key = _bucket_and_key(uri.rstrip("/"))
        if not key:
            raise ValueError(f"refused to empty {uri}")
        blobs = [bucket.blob(key), *bucket.list_blobs(prefix=key + "/")]
        bucket.delete_blobs(blobs, on_error=lambda blob: None)  # already gone
    elif os.path.realpath(uri) == os.path.realpath(os.sep):
        raise ValueError(f"refused to empty {uri}")
    elif os.path.isdir(uri) and not os.path.islink(uri):
        shutil.rmtree(uri)
    elif os.path.lexists(uri):
        os.unlink(uri)


def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="clipseed-")


def _sync(path: str) -> None:
    """Flushes a file, or the names in a folder, to disk: a rename outlives a crash."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- walking -------------------------------------------------------------------------


def _split_glob(pattern: str) -> tuple[str, list[str]]:
    """`"a/b/*.mp4"` to `("a/b", ["*.mp4"])`; a folder is everything under it."""
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
    """Names under a folder, relative to it, at most `depth` levels down."""
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
    """Names of objects under a `gs://` prefix, relative to it; "" for itself."""
    bucket, key = _bucket_and_key(root.rstrip("/"))
    folder = key + "/" if key else ""
    fields = "items(name),nextPageToken"
    for blob in bucket.list_blobs(prefix=key, fields=fields):
        if blob.name == key and not key.endswith("/"):
            yield ""
        name = blob.name.removeprefix(folder)
        is_marker = name.endswith("/") or not name  # how consoles make empty folders
        if not blob.name.startswith(folder) or is_marker or re.search(r"(^|/)\.", name):
            continue
        yield name


# --- gs:// ---------------------------------------------------------------------------


def _is_gs(uri: str) -> bool:
    scheme = _SCHEME.match(uri)
    if scheme is not None and scheme[1] != "gs":
        raise Reject(
            "unsupported_scheme",
            f"{uri}: only local paths and gs:// can be opened here",
        )
    return scheme is not None


@functools.cache
def _client(emulator: str | None) -> Any:
    """One client a process; keyed by the emulator, which the client reads once."""
    from google.cloud import storage

    del emulator
    return storage.Client()


def _bucket_and_key(uri: str) -> tuple[Any, str]:
    name, _, key = uri.removeprefix("gs://").partition("/")
    if not name:
        raise Reject("unreadable", f"{uri} names no bucket; write gs://BUCKET/NAME")
    with _rejecting(uri):
        return _client(os.environ.get("STORAGE_EMULATOR_HOST")).bucket(name), key


def _blob(uri: str) -> Any:
    bucket, key = _bucket_and_key(uri)
    if not key:
        raise Reject("unreadable", f"{uri} names no object; write gs://BUCKET/NAME")
    return bucket.blob(key)


class _Bounded(io.BytesIO):
    """A buffer that refuses to grow beyond a limit."""

    def __init__(self, uri: str, max_bytes: int) -> None:
        super().__init__()
        self._uri, self._max_bytes = uri, max_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._max_bytes:
            raise Reject(
                "too_large", f"{self._uri} has more than {self._max_bytes} bytes"
            )
        return super().write(data)


@contextlib.contextmanager
def _rejecting(uri: str) -> Iterator[None]:
    """Turns what reading may raise into a `Reject`."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Reject("not_found", f"{uri} does not exist; check the name") from error
    except OSError as error:
        if error.errno in _MACHINE:
            raise
        raise Reject("unreadable", f"{uri}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL, or a lone surrogate from bytes not UTF-8
        raise Reject("unreadable", f"{uri!r} is no file name: {error}") from error
    except Exception as error:
        reject = _cloud_reject(uri, error)
        if reject is None:
            raise
        raise reject from error


def _cloud_reject(uri: str, error: Exception) -> Reject | None:
    """The `Reject` for an error of the Google libraries; None for any other error."""
    if not is_remote(uri) or isinstance(error, Reject):
        return None
    from google.api_core.exceptions import GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    if isinstance(error, NotFound):
        return Reject("not_found", f"{uri} does not exist; check the name")
    if isinstance(error, GoogleAuthError):
        return Reject("unreadable", f"{uri}: {error}; give Google credentials")
    if isinstance(error, GoogleAPIError | DataCorruption | InvalidResponse):
        return Reject("unreadable", f"{uri}: {error}")
    return None
