"""Files, local or in Google Cloud Storage, behind one set of functions.

    with localize("gs://bucket/videos/a.mp4") as path:
        ...
    with writing("gs://bucket/run/clips-00000-of-00010") as path:
        ...  # appears under its name only when the block succeeds

A string without a scheme is a local path. Reading fails with an `InputError`
(`not_found`, `unreadable`, `too_large`, ...). Writing fails with the system's own
exception, because an output that cannot be written stops the job. Transient errors of
`gs://` are retried by google-cloud-storage's own `DEFAULT_RETRY` (408, 429, 5xx,
connection errors; exponential backoff for two minutes); a whole object is checked
against its CRC32C. `STORAGE_EMULATOR_HOST` is respected.

fsspec and Beam's `FileSystems` do neither: publish by an atomic rename after an fsync,
nor check what they read, nor tell an input's failure from the machine's.
"""

import contextlib
import errno
import io
import os
import posixpath
import shutil
import stat
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

from clipseed.errors import InputError
from clipseed.io.gcs import (
    blob_of,
    bucket_and_key,
    copy_object,
    input_errors,
    is_gs,
    scheme,
)
from clipseed.io.scratch import is_full, refusing_when_full, scratch_folder

# --- names ---------------------------------------------------------------------------


def is_remote(uri: str) -> bool:
    """Return whether a name has a scheme (`gs://`, `https://`), so is not local."""
    return scheme(uri) != ""


def join(root: str, reference: str) -> str:
    """Resolve a reference found in a table of the folder `root`.

    Returns:
        `reference` itself if it is absolute or has a scheme, else its path under
        `root`: `join("gs://b/seeds", "../img/1.jpg") == "gs://b/img/1.jpg"`.
    """
    if is_remote(reference) or os.path.isabs(reference):
        return reference
    if not is_remote(root):
        return os.path.join(root, reference)
    kind, _, rest = root.partition("://")
    bucket, _, key = rest.partition("/")
    path = posixpath.normpath(f"/{key}/{reference}").lstrip("/")
    return f"{kind}://{bucket}/{path}"


def is_inside(root: str, uri: str) -> bool:
    """Return whether a local file is in the folder `root`, its links followed.

    What is remote is never outside: it cannot be one of this machine's own files.

    Raises:
        InputError: `unreadable` if no file can have that name.
    """
    if is_remote(uri):
        return True
    if is_remote(root):
        return False
    with input_errors(uri):
        folder = os.path.realpath(root)
        return os.path.realpath(uri).startswith(os.path.join(folder, ""))


def parent(uri: str) -> str:
    """Return the folder of a file; a bucket is its own parent."""
    if not is_remote(uri):
        return os.path.dirname(uri) or "."
    kind, _, rest = uri.partition("://")
    return f"{kind}://{posixpath.dirname(rest) or rest}"


# --- reading -------------------------------------------------------------------------


def exists(uri: str) -> bool:
    """Return whether a file or a folder of this name exists."""
    if not is_gs(uri):
        return os.path.exists(uri)
    bucket, key = bucket_and_key(uri)
    folder = key.rstrip("/") + "/" if key else ""
    with input_errors(uri):
        if key and bucket.blob(key).exists():
            return True
        return any(True for _ in bucket.list_blobs(prefix=folder, max_results=1))


def read_range(uri: str, offset: int, size: int) -> bytes:
    """Read `size` bytes at `offset`; `unreadable` if the file is shorter."""
    if size == 0:
        return b""
    with input_errors(uri):
        if is_gs(uri):
            data = blob_of(uri).download_as_bytes(
                start=offset, end=offset + size - 1, raw_download=True
            )
        else:
            with _open_local(uri) as file:
                file.seek(offset)
                data = file.read(size)
    if len(data) != size:
        raise InputError(
            "unreadable",
            f"{uri} ends before byte {offset + size}; it may be truncated, copy it "
            "again",
        )
    return data


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Read a whole file of at most `max_bytes`, else `InputError("too_large")`."""
    sink = _Bounded(uri, max_bytes)
    with input_errors(uri):
        if is_gs(uri):
            blob_of(uri).download_to_file(sink)
        else:
            with _open_local(uri) as file:
                sink.write(file.read(max_bytes + 1))
    return sink.getvalue()


def open_binary(uri: str) -> BinaryIO:
    """Open a file for reading; `gs://` is streamed in pieces."""
    with input_errors(uri):
        if not is_gs(uri):
            return _open_local(uri)
        blob = blob_of(uri)
        blob.reload()  # so that a missing object fails here, not at the first read
        return blob.open("rb")


def _open_local(path: str) -> BinaryIO:
    """Open a regular file; a device or a FIFO could block, or never end.

    Raises:
        InputError: `unreadable` if it is not a regular file.
    """
    # O_NONBLOCK: opening a FIFO would wait for a writer before it can be looked at.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError("unreadable", f"{path} is not a regular file; check the path")
    return open(descriptor, "rb")


def open_text(uri: str) -> TextIO:
    r"""Open UTF-8 text for reading, with or without a byte order mark.

    Line ends are kept, as `csv` requires. Bytes that are not UTF-8 become lone
    surrogates, so that one bad line does not make the file unreadable: a string with
    one fails `text.encode()` with UnicodeEncodeError.
    """
    return io.TextIOWrapper(
        open_binary(uri), encoding="utf-8-sig", errors="surrogateescape", newline=""
    )


@contextlib.contextmanager
def localize(uri: str) -> Iterator[str]:
    """Yield a local path: the file itself, or a scratch copy deleted at the end.

    The copy keeps the suffix of the name, which some decoders look at.

    Raises:
        InputError: `not_found`, `unreadable`; `scratch_full` when the disk has no room
            for the copy.
    """
    if not is_gs(uri):
        if not os.path.isfile(uri):
            reason = "unreadable" if os.path.exists(uri) else "not_found"
            raise InputError(reason, f"{uri} is not a file; check the path")
        yield uri
        return
    with scratch_folder() as scratch:
        path = os.path.join(scratch, "copy" + posixpath.splitext(uri)[1])
        with refusing_when_full(uri):
            copy_object(uri, path)
        yield path


class _Bounded(io.BytesIO):
    """A buffer that fails to grow beyond a limit."""

    def __init__(self, uri: str, max_bytes: int) -> None:
        super().__init__()
        self._uri, self._max_bytes = uri, max_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._max_bytes:
            raise InputError(
                "too_large",
                f"{self._uri} has more than the {self._max_bytes} bytes allowed",
            )
        return super().write(data)


# --- writing -------------------------------------------------------------------------


@contextlib.contextmanager
def writing(uri: str) -> Iterator[str]:
    """Yield a local path to write to, and publish it if the block succeeds.

    A local file is written in its final folder under a hidden name, so that publishing
    it is one rename within a file system.
    """
    with contextlib.ExitStack() as cleanup:
        if is_gs(uri):
            folder = cleanup.enter_context(scratch_folder())
        else:
            folder = parent(uri)
            os.makedirs(folder, exist_ok=True)
        name = f".{posixpath.basename(uri)}.{uuid.uuid4().hex}.tmp"
        path = os.path.join(folder, name)
        cleanup.callback(remove_tree, path)
        try:
            yield path
        except OSError as error:
            if is_full(error) or error.errno == errno.EFBIG:
                message = _no_room(error, uri, folder, path)
                raise OSError(error.errno, message) from error
            raise
        publish(path, uri)


def _no_room(error: OSError, uri: str, folder: str, path: str) -> str:
    """Say what is not written and why, and how much was written and is free."""
    written = os.path.getsize(path) if os.path.isfile(path) else 0
    free = shutil.disk_usage(folder).free
    why = f"the disk of {folder} is full"
    if error.errno == errno.EFBIG:
        why = "no file may become larger (see ulimit -f)"
    return (
        f"{uri} cannot be written: {why}; of it {written / 2**20:,.1f} MiB were "
        f"written, and {free / 2**20:,.1f} MiB are free. Make room, and run again"
    )


def publish(local_path: str, uri: str) -> None:
    """Move a finished file to its name atomically, replacing what is there.

    Local: flushed to disk and renamed, by way of a copy in the target's folder if that
    is on another file system. `gs://`: uploaded with its CRC32C, then deleted here.
    """
    if is_gs(uri):
        blob_of(uri).upload_from_filename(local_path, checksum="crc32c")
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
    """Write a whole file atomically, replacing what is there."""
    with writing(uri) as path, open(path, "wb") as file:
        file.write(data)


def remove_tree(uri: str) -> None:
    """Remove a file, or a folder with its content, if it exists.

    Raises:
        ValueError: for a whole bucket or file system, which is always a mistake.
    """
    if is_gs(uri):
        bucket, key = bucket_and_key(uri.rstrip("/"))
        if not key:
            raise ValueError(f"refusing to delete all of {uri}; name a folder in it")
        blobs = [bucket.blob(key), *bucket.list_blobs(prefix=key + "/")]
        bucket.delete_blobs(blobs, on_error=lambda blob: None)  # already gone
    elif os.path.realpath(uri) == os.path.realpath(os.sep):
        raise ValueError(f"refusing to delete all of {uri}; name a folder in it")
    elif os.path.isdir(uri) and not os.path.islink(uri):
        shutil.rmtree(uri)
    elif os.path.lexists(uri):
        os.unlink(uri)


def _sync(path: str) -> None:
    """Flush a file, or the names in a folder, so that a rename survives a crash."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
