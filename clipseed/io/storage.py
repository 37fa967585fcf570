"""Files, local or in Google Cloud Storage, behind one set of functions.

    with localize("gs://bucket/videos/a.mp4") as path:
        ...
    with writing("gs://bucket/run/clips-00000-of-00010") as path:
        ...  # appears under its name only when the block succeeds

A string without a scheme is a local path. Reading fails with a `InputError`
(`not_found`, `unreadable`, `too_large`, ...); writing fails with whatever the system
says, because an output that cannot be written stops the job. Transient errors of
`gs://` are retried by google-cloud-storage's own `DEFAULT_RETRY` (408, 429, 5xx,
connection errors; exponential backoff for two minutes); what comes whole is checked
against its CRC32C. `STORAGE_EMULATOR_HOST` is honoured.
"""

import contextlib
import errno
import io
import os
import posixpath
import shutil
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

from clipseed.errors import InputError
from clipseed.io.gcs import (
    blob_of,
    bucket_and_key,
    copy_object,
    is_gs,
    rejecting,
    scheme,
)
from clipseed.io.scratch import is_full, refusing_when_full, scratch_folder

# --- names ---------------------------------------------------------------------------


def is_remote(uri: str) -> bool:
    """Whether a name has a scheme (`gs://`, `https://`) and so is no local path."""
    return scheme(uri) != ""


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
    kind, _, rest = root.partition("://")
    bucket, _, key = rest.partition("/")
    path = posixpath.normpath(f"/{key}/{reference}").lstrip("/")
    return f"{kind}://{bucket}/{path}"


def parent(uri: str) -> str:
    """The folder that a file lies in; a bucket is its own parent."""
    if not is_remote(uri):
        return os.path.dirname(uri) or "."
    kind, _, rest = uri.partition("://")
    return f"{kind}://{posixpath.dirname(rest) or rest}"


# --- reading -------------------------------------------------------------------------


def exists(uri: str) -> bool:
    """Whether a file or a folder of this name is there."""
    if not is_gs(uri):
        return os.path.exists(uri)
    bucket, key = bucket_and_key(uri)
    folder = key.rstrip("/") + "/" if key else ""
    with rejecting(uri):
        if key and bucket.blob(key).exists():
            return True
        return any(True for _ in bucket.list_blobs(prefix=folder, max_results=1))


def read_range(uri: str, offset: int, size: int) -> bytes:
    """Reads `size` bytes at `offset`; `unreadable` if the file is shorter."""
    if size == 0:
        return b""
    with rejecting(uri):
        if is_gs(uri):
            data = blob_of(uri).download_as_bytes(
                start=offset, end=offset + size - 1, raw_download=True
            )
        else:
            with open(uri, "rb") as file:
                file.seek(offset)
                data = file.read(size)
    if len(data) != size:
        raise InputError(
            "unreadable", f"{uri} ends before byte {offset + size}; copy anew"
        )
    return data


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Reads a whole file of at most `max_bytes`, else `InputError("too_large")`."""
    sink = _Bounded(uri, max_bytes)
    with rejecting(uri):
        if is_gs(uri):
            blob_of(uri).download_to_file(sink)
        else:
            with open(uri, "rb") as file:
                sink.write(file.read(max_bytes + 1))
    return sink.getvalue()


def open_binary(uri: str) -> BinaryIO:
    """Opens a file for reading; from `gs://` it comes in pieces as it is read."""
    with rejecting(uri):
        if not is_gs(uri):
            return open(uri, "rb")
        blob = blob_of(uri)
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

    The copy keeps the name's suffix, which some decoders look at. `InputError
    ("scratch_full")` when the disk has no room for it.
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
    """A buffer that refuses to grow beyond a limit."""

    def __init__(self, uri: str, max_bytes: int) -> None:
        super().__init__()
        self._uri, self._max_bytes = uri, max_bytes

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._max_bytes:
            raise InputError(
                "too_large", f"{self._uri} has more than {self._max_bytes} bytes"
            )
        return super().write(data)


# --- writing -------------------------------------------------------------------------


@contextlib.contextmanager
def writing(uri: str) -> Iterator[str]:
    """Gives a local path to write to, and publishes it if the block succeeds.

    A local file is written beside its final name, under a hidden one.
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
            if is_full(error):
                where = f"the disk of {folder} is full; {uri} is not written. Free some"
                raise OSError(error.errno, f"{where}, and start again") from error
            raise
        publish(path, uri)


def publish(local_path: str, uri: str) -> None:
    """Moves a finished file to its name, at once or not at all; overwrites.

    Local: flushed to disk and renamed, by way of a copy beside the target if that is
    on another file system. `gs://`: uploaded with its CRC32C, then removed here.
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
    """Writes a whole file, at once or not at all; overwrites."""
    with writing(uri) as path, open(path, "wb") as file:
        file.write(data)


def remove_tree(uri: str) -> None:
    """Removes a file, or a folder with all that is in it; nothing if there is none.

    Raises:
        ValueError: for a whole bucket or file system, which nobody means.
    """
    if is_gs(uri):
        bucket, key = bucket_and_key(uri.rstrip("/"))
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


def _sync(path: str) -> None:
    """Flushes a file, or the names in a folder, to disk: a rename outlives a crash."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
