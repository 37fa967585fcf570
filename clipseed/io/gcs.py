"""The two places where files lie: a local disk and Google Cloud Storage.

Tells them apart, reaches the objects of the second, and makes one `InputError` of what
either may raise. `STORAGE_EMULATOR_HOST` is honoured; the cloud library is loaded with
the first `gs://` name.
"""

import base64
import contextlib
import errno
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from clipseed.errors import InputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# The machine's troubles, not the input's: dropping inputs for them would lose data.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def scheme(uri: str) -> str:
    """What stands before `://` (`gs`, `https`), or "" for a local path."""
    found = _SCHEME.match(uri)
    return found[1] if found else ""


def is_gs(uri: str) -> bool:
    """Whether a name is in Google Cloud Storage and not local.

    Raises:
        InputError: `unsupported_scheme` for what is neither.
    """
    if scheme(uri) not in ("", "gs"):
        raise InputError(
            "unsupported_scheme",
            f"{uri}: only local paths and gs:// can be opened here",
        )
    return scheme(uri) == "gs"


@functools.cache
def _client(emulator: str | None) -> Any:
    """One client a process; keyed by the emulator, which the client reads once."""
    from google.cloud import storage

    del emulator
    return storage.Client()


def bucket_and_key(uri: str) -> tuple[Any, str]:
    """The bucket of a `gs://` name, and the rest of the name, which may be empty."""
    name, _, key = uri.removeprefix("gs://").partition("/")
    if not name:
        raise InputError("unreadable", f"{uri} names no bucket; write gs://BUCKET/NAME")
    with rejecting(uri):
        return _client(os.environ.get("STORAGE_EMULATOR_HOST")).bucket(name), key


def blob_of(uri: str) -> Any:
    """The object of a `gs://` name, whether it is there or not."""
    bucket, key = bucket_and_key(uri)
    if not key:
        raise InputError("unreadable", f"{uri} names no object; write gs://BUCKET/NAME")
    return bucket.blob(key)


@contextlib.contextmanager
def rejecting(uri: str) -> Iterator[None]:
    """Turns what reading may raise into a `InputError`."""
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
        raise InputError("unreadable", f"{uri!r} is no file name: {error}") from error
    except Exception as error:
        reject = _cloud_reject(uri, error)
        if reject is None:
            raise
        raise reject from error


def _cloud_reject(uri: str, error: Exception) -> InputError | None:
    """The `InputError` for an error of the Google libraries, else None."""
    if scheme(uri) != "gs" or isinstance(error, InputError):
        return None
    from google.api_core.exceptions import GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    if isinstance(error, NotFound):
        return InputError("not_found", f"{uri} does not exist; check the name")
    if isinstance(error, GoogleAuthError):
        return InputError("unreadable", f"{uri}: {error}; give Google credentials")
    if isinstance(error, GoogleAPIError | DataCorruption | InvalidResponse):
        return InputError("unreadable", f"{uri}: {error}")
    return None


# The library gives up on a request two minutes after its start, also when all that time
# bytes came. So an object is asked for in pieces, each with its own two minutes.
_PIECE_BYTES = 16 * 2**20


def copy_object(
    uri: str, path: str, make_room: Callable[[int], None] = lambda size_bytes: None
) -> None:
    """Streams an object to a local file, which is overwritten; checks its CRC32C.

    Args:
        uri: `gs://BUCKET/NAME`.
        path: local; after a failure it holds what came, for the caller to delete.
        make_room: told the size of the file before it is written.

    Raises:
        InputError: `not_found`; `unreadable` also when transient errors did not pass,
            or the object was replaced on the way.
        OSError: what cannot be written; no fault of the input.
    """
    import google_crc32c

    with rejecting(uri):
        blob = blob_of(uri)
        blob.reload()
        # Downloading overwrites what the blob says of itself.
        size, generation, crc32c = blob.size, blob.generation, blob.crc32c
        make_room(size)
        if blob.content_encoding == "gzip":  # Unpacked by the server, without ranges.
            blob.download_to_filename(path)
            return
        digest = google_crc32c.Checksum()
        with open(path, "wb") as file:
            for start in range(0, size, _PIECE_BYTES):
                piece = blob.download_as_bytes(
                    start=start,
                    end=min(start + _PIECE_BYTES, size) - 1,
                    raw_download=True,
                    checksum=None,  # The server knows that of the whole only.
                    if_generation_match=generation,
                )
                file.write(piece)
                digest.update(piece)
    if digest.digest() != base64.b64decode(crc32c):
        raise InputError("unreadable", f"{uri} came with another CRC32C; run again")
