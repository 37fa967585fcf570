"""Hashes that name content: the same on every machine and in every run.

    content_id(image_bytes)          # "3f786850e387550f"
    shard_of("video-1", shards=10)   # 4

Every id, checksum and shard number of a run directory is made here.
"""

import hashlib
from collections.abc import Iterable
from os import PathLike


def content_id(content: bytes | str | Iterable[bytes | str]) -> str:
    """Return the id of some content: the first 64 bits of its SHA-256 in hex.

    Args:
        content: bytes, text that is encoded as UTF-8, or the parts of one content in
            order, for what does not fit into memory as a whole.
    """
    digest = hashlib.sha256()
    for part in [content] if isinstance(content, bytes | str) else content:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:16]


def checksum(path: str | PathLike[str]) -> str:
    """Return the SHA-256 of a local file in hex, as manifests list it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shard_of(key: str, shards: int) -> int:
    """Return the shard, from 0, that a key belongs to."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % shards
