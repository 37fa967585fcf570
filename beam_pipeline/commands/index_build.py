"""`clipseed index build`: embeddings, or seed images and an embedder, to an index."""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipseed.errors import InputError
from clipseed.io import storage
from index_service.build.build_index import IndexConfig, build_index, build_shards
from index_service.build.read_embeddings import Embeddings, read_embeddings
from index_service.store.footprint import Vectors
from index_service.store.index_directory import IndexManifest
from index_service.store.shards import shard_name
from models.embedders.base import Embedder
from models.embedders.registry import load_embedder

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_VECTORS: dict[str, tuple[Vectors, ...]] = {
    "auto": ("float32", "bfloat16"),
    "float32": ("float32",),
    "bfloat16": ("bfloat16",),
}
# An index that is built once and served for long is worth more tries than a job's own.
_TREE_FROM = 20_000
_TREE_SIZES = (1.0, 2.0)


def run(argv: Sequence[str]) -> int:
    """Runs `clipseed index build`; gives the exit status.

    Raises:
        InputError: something given cannot be used.
        SystemExit: 2, with a message, when a flag is wrong.
    """
    parser = _parser()
    flags, more = parser.parse_known_args(argv)
    if flags.embeddings and more:
        parser.error(f"unknown flag: {' '.join(more)}")
    if flags.shards < 1 or not 0 < flags.target_recall <= 1:
        parser.error("--shards must be at least 1, --target_recall in (0, 1]")
    if storage.is_remote(flags.output) and storage.exists(flags.output):
        raise InputError("index_exists", f"{flags.output} is there; choose another")
    embedder = _embedder(flags.embedder) if flags.embedder else None
    source = _embeddings(flags) if flags.embeddings else _seeds(flags, embedder, more)
    threshold = _threshold(flags.threshold, embedder)
    queries = None
    if flags.queries:
        queries = read_embeddings(flags.queries).vectors
    embedder_id = _embedder_id(flags.embedder_id, embedder, source)
    for manifest in _write(flags, source, embedder_id, threshold, queries):
        _report(manifest)
    return 0


def _embeddings(flags: argparse.Namespace) -> Embeddings:
    source = read_embeddings(flags.embeddings, flags.ids)
    if not source.ids:
        raise InputError(
            "missing_ids",
            f"{flags.embeddings} has no ids: give a Parquet column 'id', or --ids with "
            "an id a line",
        )
    return source


def _seeds(
    flags: argparse.Namespace, embedder: Embedder | None, more: list[str]
) -> Embeddings:
    """Embed seed images by the steps of `clipseed mine`."""
    if embedder is None:
        raise InputError(
            "no_embedder", "--seeds needs --embedder, such as 'descriptor'"
        )
    from beam_pipeline.mining.embed_seeds import embed_seed_files

    ids, vectors = embed_seed_files(flags.seeds, flags.embedder, flags.output, more)
    return Embeddings(ids, vectors, embedder.embedder_id)


def _embedder(name: str) -> Embedder:
    try:
        return load_embedder(name)
    except ValueError as error:
        raise InputError("no_embedder", f"--embedder: {error}") from error


def _embedder_id(
    given: str | None, embedder: Embedder | None, source: Embeddings
) -> str:
    """Name what made the embeddings; whoever names it must agree.

    Raises:
        InputError: `no_embedder` or `embedder_mismatch`.
    """
    loaded = embedder.embedder_id if embedder else None
    named = {name for name in (given, loaded, source.embedder) if name is not None}
    if not named:
        raise InputError(
            "no_embedder",
            "nothing says what made the embeddings: give --embedder or --embedder_id",
        )
    if len(named) > 1:
        raise InputError(
            "embedder_mismatch",
            f"the embeddings are said to come from {' and from '.join(sorted(named))}",
        )
    if embedder and source.vectors.shape[1:] != (embedder.dimension,):
        raise InputError(
            "embedder_mismatch",
            f"the embeddings have dimension {source.vectors.shape[1]}, "
            f"{embedder.embedder_id} makes {embedder.dimension}",
        )
    return named.pop()


def _threshold(given: float | None, embedder: Embedder | None) -> float:
    threshold = given
    if threshold is None and embedder is not None:
        threshold = embedder.default_threshold
    if threshold is None or not -1 <= threshold < 1:
        raise InputError(
            "bad_threshold",
            "give --threshold, the cosine above which pairs will be asked for: at "
            "least -1 and below 1",
        )
    return threshold


def _write(
    flags: argparse.Namespace,
    source: Embeddings,
    embedder_id: str,
    threshold: float,
    queries: np.ndarray | None,
) -> list[IndexManifest]:
    """Build in a local directory; a bucket gets it whole, manifests last."""
    config = IndexConfig(
        tree_from=_TREE_FROM,
        tree_sizes=_TREE_SIZES,
        target_recall=flags.target_recall,
        trust_queries=True,
        vectors=_VECTORS[flags.vectors],
        memory_limit_bytes=flags.memory_limit,
    )
    ids, vectors = source.ids, source.vectors
    remote = storage.is_remote(flags.output)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "index" if remote else Path(flags.output)
        common = (root, ids, vectors, embedder_id, threshold, queries, config)
        if flags.shards == 1:
            manifests = [build_index(*common)]
        else:
            manifests = build_shards(*common, flags.shards)
        if remote:
            from transforms.seeds.build_index import upload_directory

            upload_directory(str(root), flags.output)
    return manifests


def _report(manifest: IndexManifest) -> None:
    name = shard_name(manifest.shard, manifest.shards)
    how = "exact search"
    if manifest.settings is not None:
        how = f"ScaNN ({manifest.settings.words()})"
    print(
        f"{name}: {manifest.count:,} seeds of dimension {manifest.dimension}, {how}, "
        f"recall {manifest.audit.recall:.4f} ({manifest.audit.recall_basis}), "
        f"{manifest.vectors}, {manifest.memory_bytes / 2**20:,.1f} MiB, version "
        f"{manifest.version}"
    )


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 2GiB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipseed index build",
        description="Builds an index of embeddings, or of seed images. With --seeds, "
        "flags that are not listed here are those of `clipseed mine` for seeds, or "
        "Apache Beam's.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True).add_argument
    source("--embeddings", help="Parquet (columns 'id', 'embedding') or npy files: a "
           "file, folder or glob")  # fmt: skip
    source("--seeds", help="seed images, as `clipseed mine` reads them")
    add("--ids", help="with npy: text file, an id a line")
    add("--embedder", help="'descriptor' or hub:HANDLE_OR_DIR; makes the embeddings of "
        "--seeds, or made those given")  # fmt: skip
    add("--embedder_id", help="id of what made the embeddings, where --embedder "
        "cannot name it")  # fmt: skip
    add("--output", required=True, help="new directory, local or gs://")
    add("--threshold", type=float, help="τ: pairs above it will be asked for "
        "(default: the embedder's)")  # fmt: skip
    add("--queries", help="embeddings as they will be searched for (frames), to tune "
        "with; else seeds are taken")  # fmt: skip
    add("--shards", type=int, default=1, help="directories to cut into, by hash of id")
    add("--vectors", choices=sorted(_VECTORS), default="auto",
        help="stored type; auto: float32 unless --memory_limit forbids")  # fmt: skip
    add("--target_recall", type=float, default=0.99,
        help="share of the pairs above the threshold to find")  # fmt: skip
    add("--memory_limit", type=_size, help="of a process that holds the index, or one "
        "shard of it, such as 2GiB")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
