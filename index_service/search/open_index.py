"""Open an index: a directory, a directory of shards, or either in a bucket."""

import itertools
import os
import shutil
import tempfile
from pathlib import Path

from clipseed.errors import InputError
from clipseed.hashing import content_id
from clipseed.io import storage
from clipseed.io.listing import list_files
from index_service.search.index import Index
from index_service.search.searcher import load_index
from index_service.search.sharded import load_shards
from index_service.store import index_directory
from index_service.store.shards import is_shard_name

__all__ = ["Index", "open_index"]

_MAX_MANIFEST_BYTES = 1 << 26


def open_index(
    uri: str, embedder_id: str | None = None, dimension: int | None = None
) -> Index:
    """Verify an index and open it.

    Args:
        uri: what `clipseed index build` wrote: an index, one shard of an index, or the
            directory of all its shards; local or `gs://`. An index in a bucket is
            copied to this machine once, and again only when it has changed.
        embedder_id: the embedder of the queries; not compared when None.
        dimension: d of the queries; not compared when None.

    Raises:
        InputError: `not_an_index`, `damaged_index`, `embedder_mismatch`, or what
            reading a bucket may raise.
    """
    directory = _copy(uri) if storage.is_remote(uri) else Path(uri)
    if not directory.is_dir():
        raise InputError(
            "not_an_index", f"{uri} is not a directory; build an index first"
        )
    names = [path.name for path in directory.iterdir()]
    if index_directory.MANIFEST not in names and any(map(is_shard_name, names)):
        return load_shards(directory, embedder_id, dimension)
    return load_index(directory, embedder_id, dimension)


def _copy(uri: str) -> Path:
    """Copy an index from a bucket, unless this machine has it already."""
    root = uri.rstrip("/")
    files = {name.removeprefix(root + "/"): name for name in list_files(root)}
    manifests = {
        name: storage.read_bytes(whole, _MAX_MANIFEST_BYTES)
        for name, whole in files.items()
        if name.split("/")[-1] == index_directory.MANIFEST
    }
    if any(".." in name.split("/") for name in files):
        raise InputError(
            "not_an_index", f"{uri} holds names with '..'; build the index again"
        )
    if not manifests:
        raise InputError(
            "not_an_index",
            f"{uri} holds no {index_directory.MANIFEST}; build the index again",
        )
    named = ([name, content_id(manifests[name])] for name in sorted(manifests))
    target = _cache() / content_id([root, *itertools.chain.from_iterable(named)])
    if not target.exists():
        _download(files, target)
    return target


def _download(files: dict[str, str], target: Path) -> None:
    """Copy files to a directory that appears whole, also when processes compete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent))
    try:
        for name, uri in files.items():
            path = scratch / "copy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with storage.localize(uri) as local:
                shutil.copyfile(local, path)
        try:
            (scratch / "copy").rename(target)
        except OSError:
            if not target.exists():  # Else another process was faster.
                raise
    finally:
        shutil.rmtree(scratch)


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "clipseed" / "index"
