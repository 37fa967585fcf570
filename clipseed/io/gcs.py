"""Google Cloud Storage: which names belong to it, its objects, and its errors.

`input_errors` turns the exceptions of both the local disk and the cloud library into
`InputError`. `STORAGE_EMULATOR_HOST` is respected. The cloud library is imported with
the first `gs://` name, because its import takes a second.
"""

import base64
import contextlib
import errno
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from clipseed.errors import InputError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket, Client

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Failures of the machine, not of the input: dropping inputs for them would lose data.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def scheme(uri: str) -> str:
    """Return the scheme of a URI (`gs`, `https`), or "" for a local path."""
    found = _SCHEME.match(uri)
    return found[1] if found else ""


def is_gs(uri: str) -> bool:
    """Return whether a URI is in Google Cloud Storage rather than local.

    Raises:
        InputError: `unsupported_scheme` for a URI that is neither.
    """
    if scheme(uri) not in ("", "gs"):
        raise InputError(
            "unsupported_scheme",
            f"{uri}: {scheme(uri)}:// cannot be read here; copy it to a local path or "
            "to gs://",
        )
    return scheme(uri) == "gs"


@functools.cache
def _client(emulator: str | None) -> "Client":
    """Return this process's client.

    The emulator's address is the key of the cache: a client reads it once, when it is
    created.
    """
    from google.cloud.storage import Client

    del emulator
    return Client()


def bucket_and_key(uri: str) -> "tuple[Bucket, str]":
    """Split a `gs://` URI into its bucket and the object's name, which may be ""."""
    name, _, key = uri.removeprefix("gs://").partition("/")
    if not name:
        raise InputError("unreadable", f"{uri} has no bucket; write gs://BUCKET/NAME")
    with input_errors(uri):
        return _client(os.environ.get("STORAGE_EMULATOR_HOST")).bucket(name), key


def blob_of(uri: str) -> "Blob":
    """Return the object of a `gs://` URI, whether it exists or not."""
    bucket, key = bucket_and_key(uri)
    if not key:
        raise InputError("unreadable", f"{uri} is a bucket; write gs://BUCKET/NAME")
    return bucket.blob(key)


@contextlib.contextmanager
def input_errors(uri: str) -> Iterator[None]:
    """Turn the exceptions that reading `uri` may raise into an `InputError`."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            "not_found", f"{uri} does not exist; check the name"
        ) from error
    except OSError as error:
        if error.errno in _MACHINE:
            raise
        raise InputError("unreadable", f"{uri}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL, or a lone surrogate from bytes not UTF-8
        raise InputError(
            "unreadable", f"{uri!r} is not a valid file name: {error}"
        ) from error
    except Exception as error:
        input_error = _cloud_input_error(uri, error)
        if input_error is None:
            raise
        raise input_error from error


def _cloud_input_error(uri: str, error: Exception) -> InputError | None:
    """Return the `InputError` for an exception of Google's libraries, else None."""
    if scheme(uri) != "gs" or isinstance(error, InputError):
        return None
    from google.api_core.exceptions import GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    if isinstance(error, NotFound):
        return InputError("not_found", f"{uri} does not exist; check the name")
    if isinstance(error, GoogleAuthError):
        return InputError(
            "unreadable",
            f"{uri}: {error}; log in with `gcloud auth application-default login`",
        )
    if isinstance(error, GoogleAPIError | DataCorruption | InvalidResponse):
        return InputError("unreadable", f"{uri}: {error}")
    return None


# The library aborts a request two minutes after its start even while bytes arrive. So
# an object is requested in pieces, each with two minutes of its own.
_PIECE_BYTES = 16 * 2**20


def copy_object(
    uri: str, path: str, make_room: Callable[[int], None] = lambda size_bytes: None
) -> None:
    """Stream an object to a local file, which is overwritten; checks its CRC32C.

    Args:
        uri: `gs://BUCKET/NAME`.
        path: local; after a failure it may hold a part, for the caller to delete.
        make_room: called with the size of the file before it is written.

    Raises:
        InputError: `not_found`; `unreadable` also when transient errors persist, or
            when the object is replaced during the copy.
        OSError: `path` cannot be written, which is not the input's fault.
    """
    import google_crc32c

    with input_errors(uri):
        blob = blob_of(uri)
        blob.reload()
        # Downloading overwrites the metadata of the blob.
        size, generation, crc32c = blob.size, blob.generation, blob.crc32c
        make_room(size)
        if blob.content_encoding == "gzip":  # The server decompresses; no ranges then.
            blob.download_to_filename(path)
            return
        digest = google_crc32c.Checksum()
        with open(path, "wb") as file:
            for start in range(0, size, _PIECE_BYTES):
                piece = blob.download_as_bytes(
                    start=start,
                    end=min(start + _PIECE_BYTES, size) - 1,
                    raw_download=True,
                    checksum=None,  # The server has one for the whole object only.
                    if_generation_match=generation,
                )
                file.write(piece)
                digest.update(piece)
    if digest.digest() != base64.b64decode(crc32c):
        raise InputError(
            "unreadable", f"{uri}: the copy does not match its CRC32C; run again"
        )
