"""Build the seed index: check, sort, train, tune, write."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipseed.errors import InputError
from clipseed.hashing import content_id
from index_service.build.train import IndexConfig, train
from index_service.store import footprint, index_directory
from index_service.store.embeddings import check_matrix, check_queries, first_bad_row
from index_service.store.index_directory import IndexManifest
from index_service.store.shards import shard_name, split

__all__ = ["IndexConfig", "build_index", "build_shards", "check_seeds"]


def build_index(
    directory: Path,
    ids: Sequence[str],
    embeddings: np.ndarray,
    embedder_id: str,
    threshold: float,
    queries: np.ndarray | None,
    config: IndexConfig,
) -> IndexManifest:
    """Build an index and write it to a directory.

    Rows are ordered by id, so that the index does not depend on the order of arrival.

    Args:
        directory: is created; must not hold an index (the remains of an unfinished
            build are replaced).
        ids: n distinct ids without line breaks.
        embeddings: float32 [n, d], unit norm.
        embedder_id: the embedder of the embeddings.
        threshold: similarity that the pairs of later searches must exceed.
        queries: float32 [m, d], unit norm, a sample of later queries; or None.
        config: see `IndexConfig`.

    Raises:
        InputError: `index_exists`, `not_empty`, `empty_index`, `bad_id`,
            `duplicate_id`, `wrong_shape`, `wrong_dtype`, `not_finite`, `zero_norm`,
            `not_unit_norm`, `memory_limit` or `recall_out_of_reach`.
    """
    check_seeds(ids, embeddings)
    if queries is not None:
        check_queries(queries, embeddings.shape[1])
    _make_room(directory)
    build = name_build(ids, embeddings, embedder_id)
    part = _Part(directory, list(ids), embeddings, 0, 1, build)
    return _build_part(part, embedder_id, threshold, queries, config)


def build_shards(
    directory: Path,
    ids: Sequence[str],
    embeddings: np.ndarray,
    embedder_id: str,
    threshold: float,
    queries: np.ndarray | None,
    config: IndexConfig,
    shards: int,
) -> list[IndexManifest]:
    """Build an index sharded by hash of the id: `directory/shard-00000-of-00003/` ...

    Each shard reaches the target recall of its pairs, hence so do all together.

    Args:
        directory: of all shards; is created, must not hold an index.
        ids: as for `build_index`.
        embeddings: as for `build_index`.
        embedder_id: as for `build_index`.
        threshold: as for `build_index`.
        queries: as for `build_index`.
        config: how to build each shard.
        shards: number of shards; none may be empty.

    Raises:
        InputError: as `build_index`; `too_many_shards`.
    """
    check_seeds(ids, embeddings)
    if queries is not None:
        check_queries(queries, embeddings.shape[1])
    rows_of = split(ids, shards)
    names = [shard_name(shard, shards) for shard in range(shards)]
    _make_room_for_shards(directory, names)
    build = name_build(ids, embeddings, embedder_id)
    manifests = []
    for shard, (name, rows) in enumerate(zip(names, rows_of, strict=True)):
        (directory / name).mkdir()
        part_ids = [ids[row] for row in rows]
        part = _Part(directory / name, part_ids, embeddings[rows], shard, shards, build)
        manifests.append(_build_part(part, embedder_id, threshold, queries, config))
    return manifests


@dataclass(frozen=True)
class _Part:
    """The seeds of one index directory."""

    directory: Path
    ids: list[str]
    embeddings: np.ndarray
    shard: int
    shards: int
    build: str


def _build_part(
    part: _Part,
    embedder_id: str,
    threshold: float,
    queries: np.ndarray | None,
    config: IndexConfig,
) -> IndexManifest:
    """Sort the seeds of a part, train, and write its directory."""
    order = sorted(range(len(part.ids)), key=part.ids.__getitem__)
    ids = [part.ids[row] for row in order]
    vectors = np.ascontiguousarray(part.embeddings[order])
    trained = train(ids, vectors, queries, threshold, config)
    index_directory.write_arrays(
        part.directory, ids, footprint.encode(vectors, trained.storage.vectors)
    )
    if trained.index is not None:
        (part.directory / index_directory.SCANN).mkdir()
        trained.index.save(part.directory / index_directory.SCANN)
    how = trained.settings
    manifest = IndexManifest(
        format_version=index_directory.FORMAT_VERSION,
        kind="scann" if trained.settings else "exact",
        embedder_id=embedder_id,
        dimension=vectors.shape[1],
        count=vectors.shape[0],
        threshold=threshold,
        settings=trained.settings,
        audit=trained.audit,
        files=index_directory.list_files(part.directory),
        shard=part.shard,
        shards=part.shards,
        build=part.build,
        vectors=trained.storage.vectors,
        memory_bytes=footprint.memory_bytes(
            ids,
            vectors.shape[1],
            trained.storage,
            how.leaves if how else 0,
            how.block_dims if how else 2,
        ),
    )
    index_directory.write_manifest(part.directory, manifest)
    return manifest


def check_seeds(ids: Sequence[str], embeddings: np.ndarray) -> None:
    """Check that seeds can be indexed; the error names the first bad one.

    Raises:
        InputError: see `build_index`.
    """
    if not len(ids):
        raise InputError(
            "empty_index",
            "there are no seeds to index; see the dead letters for why all were "
            "dropped",
        )
    check_matrix(embeddings)
    if len(embeddings) != len(ids):
        raise InputError(
            "wrong_shape",
            f"there are {len(ids)} ids for {len(embeddings)} embeddings; pass one id "
            "per row",
        )
    seen: set[str] = set()
    for seed_id in ids:
        if not seed_id or "\n" in seed_id:
            raise InputError(
                "bad_id",
                f"seed id {seed_id!r} is empty or has a line break; change the id",
            )
        if seed_id in seen:
            raise InputError(
                "duplicate_id", f"seed id {seed_id!r} occurs twice; drop one of them"
            )
        seen.add(seed_id)
    bad = first_bad_row(embeddings)
    if bad is not None:
        row, reason = bad
        raise InputError(
            reason,
            f"the embedding of seed {ids[row]!r} (row {row}) is not a finite unit "
            f"vector ({reason}); drop the seed or normalize it",
        )


def _make_room(directory: Path) -> None:
    """Create the directory, or remove the files of an unfinished build from it."""
    if (directory / index_directory.MANIFEST).exists():
        raise InputError("index_exists", f"{directory} holds an index; use another")
    shutil.rmtree(directory / index_directory.SCANN, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.name not in (
            index_directory.VECTORS,
            index_directory.IDS,
            f".{index_directory.MANIFEST}.tmp",
        ):
            raise InputError("not_empty", f"{directory} holds {path.name}; use another")
        path.unlink()


def _make_room_for_shards(directory: Path, names: Sequence[str]) -> None:
    """Create the directory, or remove the shards of an unfinished build from it."""
    if all((directory / name / index_directory.MANIFEST).exists() for name in names):
        raise InputError("index_exists", f"{directory} holds an index; use another")
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.name not in names:
            raise InputError("not_empty", f"{directory} holds {path.name}; use another")
    for path in directory.iterdir():
        shutil.rmtree(path)


def name_build(ids: Sequence[str], embeddings: np.ndarray, embedder_id: str) -> str:
    """Hash the seeds and their embedder, independent of the order of the seeds."""

    def parts() -> Iterator[bytes | str]:
        yield f"{embedder_id}\n{embeddings.shape[1]}\n"
        for row in sorted(range(len(ids)), key=ids.__getitem__):
            yield f"{ids[row]}\n"
            yield embeddings[row].tobytes()

    return content_id(parts())
