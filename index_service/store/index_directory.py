"""An index directory: its files, and the check that they are undamaged.

```
vectors.npy     float32 [n, d], memory-mapped for exact scores; bfloat16 as uint16
ids.txt         UTF-8, one seed id per line, in the order of the rows
scann/          ScaNN's files, with relative names; absent in an exact index
manifest.json   `IndexManifest`, with size and SHA-256 of every file, and a hash of
                itself; written last
```
A directory without a manifest is not an index. It may be moved as a whole. The hashes
protect from damage: who can write to the directory can make them fit anything.
"""

import json
import os
import tokenize
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipseed.errors import InputError
from clipseed.hashing import checksum, content_id
from index_service.store.footprint import Vectors
from index_service.store.tuning import Audit, Recall, ScannSettings, Trial

FORMAT_VERSION = 3
MANIFEST = "manifest.json"
VECTORS = "vectors.npy"
IDS = "ids.txt"
SCANN = "scann"
_SEAL = "content_id"
# What damaged bytes make of JSON, UTF-8 and npy. Deep nesting ends in a RecursionError.
_UNREADABLE = (
    *(ValueError, KeyError, TypeError, AttributeError, OSError, EOFError),
    *(OverflowError, RecursionError, SyntaxError, tokenize.TokenError),
)


@dataclass(frozen=True)
class FileEntry:
    """A file of the index, by its path relative to the directory."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class IndexManifest:
    """The description of an index.

    Attributes:
        format_version: of this layout.
        kind: `exact` or `scann`.
        embedder_id: the embedder of the seeds; queries must come from the same one.
        dimension: d.
        count: number of seeds.
        threshold: the similarity that the settings were tuned for.
        settings: ScaNN's settings; None for an exact index.
        audit: the recall measured, and how.
        files: every other file, by path.
        shard: number of this shard, from 0.
        shards: number of shards of the index.
        build: hash of the seeds of all shards; shards of one index have the same.
        vectors: type of the stored vectors; scores are computed from these.
        memory_bytes: estimate of the memory of a process that holds the index.
    """

    format_version: int
    kind: str
    embedder_id: str
    dimension: int
    count: int
    threshold: float
    settings: ScannSettings | None
    audit: Audit
    files: tuple[FileEntry, ...]
    shard: int = 0
    shards: int = 1
    build: str = ""
    vectors: Vectors = "float32"
    memory_bytes: int = 0

    @property
    def version(self) -> str:
        """The name of the content: indexes of one version return the same answers."""
        fields = asdict(self)
        # These describe the index but do not influence its answers.
        for name in ("threshold", "audit", "memory_bytes"):
            del fields[name]
        return content_id(json.dumps(fields, sort_keys=True))


def write_arrays(directory: Path, ids: Sequence[str], vectors: np.ndarray) -> None:
    """Write the vectors and the table of ids."""
    if vectors.dtype != np.float32:  # npy does not know bfloat16.
        vectors = vectors.view(np.uint16)
    np.save(directory / VECTORS, vectors)
    (directory / IDS).write_bytes("".join(f"{i}\n" for i in ids).encode())


def list_files(directory: Path) -> tuple[FileEntry, ...]:
    """Size and checksum of every file but the manifest, in order of path."""
    paths = sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).parts[0] != MANIFEST
    )
    return tuple(
        FileEntry(
            path.relative_to(directory).as_posix(), path.stat().st_size, checksum(path)
        )
        for path in paths
    )


def write_manifest(directory: Path, manifest: IndexManifest) -> None:
    """Write the manifest atomically, which makes the directory an index."""
    temporary = directory / f".{MANIFEST}.tmp"
    fields = asdict(manifest)
    fields[_SEAL] = _seal(fields)
    text = json.dumps(fields, indent=2, sort_keys=True, allow_nan=False)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / MANIFEST)


def read_manifest(directory: Path) -> IndexManifest:
    """Read the manifest.

    Raises:
        InputError: `damaged_index` when it is missing, unreadable or of another format.
    """
    path = directory / MANIFEST
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        version = fields["format_version"]
        if version != FORMAT_VERSION:
            raise _damaged(path, f"has format {version!r}, not {FORMAT_VERSION}")
        if fields.pop(_SEAL) != _seal(fields):
            raise _damaged(path, "does not have the hash that it states")
        return _manifest(fields)
    except FileNotFoundError:
        raise _damaged(path, "is missing, so the build did not finish") from None
    except _UNREADABLE as error:
        raise _damaged(path, f"cannot be read ({type(error).__name__})") from error


def verify(directory: Path, manifest: IndexManifest) -> None:
    """Compare every file with its size and checksum.

    Raises:
        InputError: `damaged_index`, with the file's name.
    """
    for entry in manifest.files:
        path = directory / entry.path
        if not path.is_file():
            raise _damaged(path, "is missing")
        if path.stat().st_size != entry.size_bytes:
            raise _damaged(
                path, f"has {path.stat().st_size} bytes, not {entry.size_bytes}"
            )
        if checksum(path) != entry.sha256:
            raise _damaged(path, "does not have the checksum of the manifest")


def read_arrays(
    directory: Path, manifest: IndexManifest
) -> tuple[list[str], np.ndarray]:
    """Read the ids and map the vectors of a verified index.

    Returns:
        The ids, and the vectors: [n, d], memory-mapped.

    Raises:
        InputError: `damaged_index` when they do not fit the manifest.
    """
    return _ids(directory / IDS, manifest), _vectors(directory / VECTORS, manifest)


def _ids(path: Path, manifest: IndexManifest) -> list[str]:
    try:
        ids = path.read_bytes().decode().split("\n")[:-1]
    except _UNREADABLE as error:
        raise _damaged(path, f"cannot be read ({type(error).__name__})") from error
    if len(ids) != manifest.count:
        raise _damaged(path, f"has {len(ids)} ids, not {manifest.count}")
    return ids


def _vectors(path: Path, manifest: IndexManifest) -> np.ndarray:
    try:
        vectors: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        raise _damaged(path, f"cannot be read ({type(error).__name__})") from error
    stored = np.float32 if manifest.vectors == "float32" else np.uint16
    if vectors.dtype != stored:
        raise _damaged(path, f"holds {vectors.dtype}, not {np.dtype(stored)}")
    if vectors.shape != (manifest.count, manifest.dimension):
        raise _damaged(path, f"has shape {vectors.shape}")
    if manifest.vectors == "bfloat16":
        import ml_dtypes

        vectors = vectors.view(ml_dtypes.bfloat16)
    return vectors


def _seal(fields: dict[str, Any]) -> str:
    """Hash the fields of a manifest, whatever their order and layout."""
    return content_id(json.dumps(fields, sort_keys=True))


def _damaged(path: Path, what: str) -> InputError:
    return InputError("damaged_index", f"{path} {what}; build or copy the index again")


def _manifest(fields: dict[str, Any]) -> IndexManifest:
    """Convert JSON into the dataclasses."""
    settings = fields["settings"]
    return IndexManifest(
        **{
            **fields,
            "settings": None if settings is None else ScannSettings(**settings),
            "audit": _audit(fields["audit"]),
            "files": tuple(FileEntry(**entry) for entry in fields["files"]),
        }
    )


def _audit(fields: dict[str, Any]) -> Audit:
    return Audit(
        fields["recall"],
        fields["recall_basis"],
        tuple(Recall(**recall) for recall in fields["held_out"]),
        tuple(
            Trial(**{**trial, "settings": ScannSettings(**trial["settings"])})
            for trial in fields["trials"]
        ),
    )
