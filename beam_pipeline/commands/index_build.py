"""`clipseed index build`: embeddings, or seed images and an embedder, to an index."""

import dataclasses
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from beam_pipeline.mining.config import MineConfig
from beam_pipeline.mining.flags import (
    EMBEDDER_EXPECTED,
    EMBEDDER_PATTERN,
    EMBEDDERS,
    AcceleratorFlags,
    DownloadFlags,
    SeedFormatFlags,
)
from beam_pipeline.mining.settings import check_beam_flags
from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags, flags_of
from clipseed.io import storage

if TYPE_CHECKING:
    import numpy as np

    from index_service.build.read_embeddings import Embeddings
    from index_service.store.footprint import Vectors
    from index_service.store.index_directory import IndexManifest
    from models.embedders.base import Embedder

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_VECTORS: "dict[str, tuple[Vectors, ...]]" = {
    "auto": ("float32", "bfloat16"),
    "float32": ("float32",),
    "bfloat16": ("bfloat16",),
}
# An index that is built once and served for long is worth more tries than a job's own.
_TREE_FROM = 20_000
_TREE_SIZES = (1.0, 2.0)


def _size(text: str) -> int:
    """Return a size in bytes.

    Raises:
        ValueError: it is not one.

    Example:
        >>> _size("2GiB")
        2147483648
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if not found:
        raise ValueError(text)
    return int(float(found[1]) * _UNITS[found[2].upper()])


@flags
class BuildFlags(SeedFormatFlags, DownloadFlags, AcceleratorFlags):
    """All flags of `clipseed index build`."""

    embeddings: str | None = flag(
        "Embeddings to index: Parquet (columns 'id', 'embedding') or npy files, as a "
        "file, folder or glob",
        default=None,
        metavar="PATH",
    )
    ids: str | None = flag(
        "Text file of the ids of npy embeddings, one per line",
        default=None,
        metavar="PATH",
    )
    seeds: str | None = flag(
        "Seed images to embed and index, as `clipseed mine` reads them",
        default=None,
        metavar="PATH",
    )
    embedder: str | None = flag(
        f"What embeds --seeds, or made --embeddings: {EMBEDDERS}",
        default=None,
        pattern=EMBEDDER_PATTERN,
        expected=EMBEDDER_EXPECTED,
    )
    embedder_id: str | None = flag(
        "Id of what made --embeddings, where --embedder cannot name it", default=None
    )
    output: str = flag("New directory, local or gs://", metavar="PATH")
    threshold: float | None = flag(
        "Similarity τ above which pairs will be asked for",
        default=None,
        default_text="the embedder's",
        at_least=-1,
        below=1,
    )
    queries: str | None = flag(
        "Embeddings such as will be searched for (frames), to tune with",
        default=None,
        default_text="the seeds",
        metavar="PATH",
    )
    shards: int = flag("Number of shards, by hash of the id", default=1, at_least=1)
    vectors: Literal["auto", "float32", "bfloat16"] = flag(
        "Stored type; auto: float32 unless --memory_limit forbids it", default="auto"
    )
    target_recall: float = flag(
        "Share of the pairs above the threshold to find",
        default=0.99,
        above=0,
        at_most=1,
    )
    memory_limit: int | None = flag(
        "Memory limit of a process that holds the index, or one shard of it, such as "
        "2GiB",
        default=None,
        metavar="SIZE",
        expected="a size such as 2GiB",
        parse=_size,
    )

    def __post_init__(self) -> None:
        """Raise ValueError unless there is one source, and what it needs."""
        if (self.embeddings is None) == (self.seeds is None):
            raise ValueError("give --embeddings or --seeds, one of them")
        if self.seeds is not None and self.embedder is None:
            raise ValueError("--seeds: needs --embedder, such as 'descriptor'")


COMMAND_LINE = CommandLine(
    "clipseed index build",
    BuildFlags,
    "Build an index of embeddings, or of seed images.",
    others="Apache Beam, with --seeds",
)


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed index build`; return 0, or 2 for what cannot be used."""
    given, left = COMMAND_LINE.parse_known(arguments)
    if given.embeddings is not None:
        COMMAND_LINE.refuse(left)
    else:
        left = check_beam_flags(COMMAND_LINE, left)
    try:
        for manifest in build(given, left):
            print(_described(manifest))
    except InputError as error:
        print(f"clipseed index build: {error.message}", file=sys.stderr)
        return 2
    return 0


def build(given: BuildFlags, beam_flags: list[str]) -> "list[IndexManifest]":
    """Build the index; return the manifest of each shard.

    Raises:
        InputError: something given cannot be used.
    """
    from index_service.build.read_embeddings import (
        read_embeddings,
        read_seed_embeddings,
    )
    from models.embedders.registry import pin_embedder

    if storage.is_remote(given.output) and storage.exists(given.output):
        raise InputError("index_exists", f"{given.output} is there; choose another")
    embedder = None
    if given.embedder:
        name = pin_embedder(given.embedder)
        given = dataclasses.replace(given, embedder=name)
        embedder = _embedder(name)
    if given.embeddings is not None:
        source = read_seed_embeddings(given.embeddings, given.ids)
    else:
        source = _seeds(given, embedder, beam_flags)
    threshold = _threshold(given.threshold, embedder)
    queries = read_embeddings(given.queries).vectors if given.queries else None
    loaded, dimension = None, None
    if embedder is not None:
        loaded, dimension = embedder.embedder_id, embedder.dimension
    embedder_id = source.made_by([given.embedder_id, loaded], dimension)
    return _write(given, source, embedder_id, threshold, queries)


def _seeds(
    given: BuildFlags, embedder: "Embedder | None", beam_flags: list[str]
) -> "Embeddings":
    """Embed seed images by the steps of `clipseed mine`."""
    from beam_pipeline.embed_seeds import embed_seed_files
    from index_service.build.read_embeddings import Embeddings

    assert given.seeds and given.embedder and embedder
    shared = {
        shared_flag.name: getattr(given, shared_flag.name)
        for group in (SeedFormatFlags, DownloadFlags, AcceleratorFlags)
        for shared_flag in flags_of(group)
    }
    config = MineConfig(
        seeds=given.seeds,
        videos="none",
        output=f"{given.output.rstrip('/')}.work",
        embedder=given.embedder,
        threshold=0.0,  # Nothing is matched: any will do.
        **shared,
    )
    dead_letters = f"{given.output.rstrip('/')}.rejected.jsonl"
    ids, vectors = embed_seed_files(config, dead_letters, beam_flags)
    return Embeddings(ids, vectors, embedder.embedder_id)


def _embedder(name: str) -> "Embedder":
    from models.embedders.registry import load_embedder

    try:
        return load_embedder(name)
    except ValueError as error:
        raise InputError("no_embedder", f"--embedder: {error}") from error


def _threshold(given: float | None, embedder: "Embedder | None") -> float:
    threshold = given
    if threshold is None and embedder is not None:
        threshold = embedder.default_threshold
    if threshold is None:
        raise InputError(
            "bad_threshold",
            "give --threshold, the similarity above which pairs will be asked for",
        )
    return threshold


def _write(
    given: BuildFlags,
    source: "Embeddings",
    embedder_id: str,
    threshold: float,
    queries: "np.ndarray | None",
) -> "list[IndexManifest]":
    """Build in a local directory; a bucket gets it whole, manifests last."""
    from index_service.build.build_index import IndexConfig, build_index, build_shards

    config = IndexConfig(
        tree_from=_TREE_FROM,
        tree_sizes=_TREE_SIZES,
        target_recall=given.target_recall,
        trust_queries=True,
        vectors=_VECTORS[given.vectors],
        memory_limit_bytes=given.memory_limit,
    )
    ids, vectors = source.ids, source.vectors
    remote = storage.is_remote(given.output)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "index" if remote else Path(given.output)
        common = (root, ids, vectors, embedder_id, threshold, queries, config)
        if given.shards == 1:
            manifests = [build_index(*common)]
        else:
            manifests = build_shards(*common, given.shards)
        if remote:
            from transforms.seeds.build_index import upload_directory

            upload_directory(str(root), given.output)
    return manifests


def _described(manifest: "IndexManifest") -> str:
    """Return what was built, in a line."""
    from index_service.store.shards import shard_name

    name = shard_name(manifest.shard, manifest.shards)
    how = "exact search"
    if manifest.settings is not None:
        how = f"ScaNN ({manifest.settings.words()})"
    return (
        f"{name}: {manifest.count:,} seeds of dimension {manifest.dimension}, {how}, "
        f"recall {manifest.audit.recall:.4f} ({manifest.audit.recall_basis}), "
        f"{manifest.vectors}, {manifest.memory_bytes / 2**20:,.1f} MiB, version "
        f"{manifest.version}"
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
