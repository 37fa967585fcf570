"""Copying an object of a bucket to a file, however long it takes.

The cloud library gives up on a request two minutes after its start, also when all that
time bytes came. So an object is asked for in pieces, each with its own two minutes.
"""

import base64
from collections.abc import Callable

from clipseed.errors import Reject
from clipseed.io.gcs import blob_of, rejecting

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
        Reject: `not_found`; `unreadable` also when transient errors did not pass, or
            the object was replaced on the way.
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
        raise Reject("unreadable", f"{uri} came with another CRC32C; run again")
