"""Read embeddings from files: Parquet, or npy with the ids in a text file."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from clipseed.errors import InputError
from clipseed.io.listing import list_files
from clipseed.io.storage import localize, open_text
from index_service.store.embeddings import NORM_TOLERANCE

_ID_COLUMNS = ("id", "seed_id", "key")
_EMBEDDING_COLUMNS = ("embedding", "vector")
_BLOCK_ROWS = 1 << 14


class Embeddings(NamedTuple):
    """The content of a source.

    Attributes:
        ids: one per row; empty if the source has none.
        vectors: float32 [n, d], unit norm except for rows that cannot be scaled.
        embedder: the embedder that the source names, or None.
    """

    ids: list[str]
    vectors: np.ndarray
    embedder: str | None

    def made_by(self, others: Iterable[str | None], dimension: int | None) -> str:
        """Return the id of the embedder; whoever names it must agree.

        Args:
            others: ids that others name; None: they do not know.
            dimension: of the embeddings it makes, if that is known.

        Raises:
            InputError: `no_embedder` or `embedder_mismatch`.
        """
        named = {name for name in (self.embedder, *others) if name is not None}
        if not named:
            raise InputError(
                "no_embedder",
                "nothing says what made the embeddings: give --embedder or "
                "--embedder_id",
            )
        if len(named) > 1:
            makers = " and from ".join(sorted(named))
            raise InputError(
                "embedder_mismatch", f"the embeddings are said to come from {makers}"
            )
        name = named.pop()
        if dimension is not None and self.vectors.shape[1:] != (dimension,):
            raise InputError(
                "embedder_mismatch",
                f"the embeddings have dimension {self.vectors.shape[1]}, {name} makes "
                f"{dimension}",
            )
        return name


def read_seed_embeddings(source: str, ids_uri: str | None = None) -> Embeddings:
    """Read embeddings that have ids; raise `missing_ids`, or as `read_embeddings`."""
    found = read_embeddings(source, ids_uri)
    if not found.ids:
        raise InputError(
            "missing_ids",
            f"{source} has no ids: give a Parquet column 'id', or --ids with an id per "
            "line",
        )
    return found


def read_embeddings(source: str, ids_uri: str | None = None) -> Embeddings:
    """Read embeddings of any float type; rows of another norm are scaled to one.

    Zeros and values that are not finite are kept, for the builder to refuse by id.

    Args:
        source: Parquet or npy files: a file, a folder or a glob; local or `gs://`.
            Parquet has a list column `embedding` and, for seeds, a text column `id`;
            its metadata may name the `embedder`.
        ids_uri: for npy: a text file with one id per line.

    Raises:
        InputError: `not_found`, `unreadable`, `unknown_format`, `missing_column`,
            `wrong_shape`, `wrong_dtype` or `embedder_mismatch`.
    """
    files = [f for f in list_files(source) if f.endswith((".parquet", ".npy"))]
    if not files:
        raise InputError(
            "unknown_format",
            f"{source} holds neither .parquet nor .npy files; name "
            "a folder or glob that does",
        )
    parts = [_read_parquet(f) if f.endswith(".parquet") else _npy(f) for f in files]
    if len({part.vectors.shape[1] for part in parts}) > 1:
        raise InputError(
            "wrong_shape",
            f"the files of {source} differ in dimension; use those of one embedder",
        )
    embedders = {part.embedder for part in parts}
    if len(embedders) > 1:
        raise InputError(
            "embedder_mismatch",
            f"the files of {source} come from {sorted(map(str, embedders))}; use those "
            "of one embedder",
        )
    ids = [seed_id for part in parts for seed_id in part.ids]
    if ids_uri is not None:
        with open_text(ids_uri) as lines:
            ids = lines.read().splitlines()
    vectors = np.concatenate([part.vectors for part in parts])
    return Embeddings(ids, _scaled(vectors), embedders.pop())


def _npy(uri: str) -> Embeddings:
    with localize(uri) as path:
        try:
            vectors = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise InputError(
                "unreadable", f"{uri} is not a complete npy file: {error}"
            ) from None
    return Embeddings([], _checked(uri, vectors), None)


def _read_parquet(uri: str) -> Embeddings:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with localize(uri) as path:
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                embedding = _column(names, _EMBEDDING_COLUMNS)
                if embedding is None:
                    raise InputError(
                        "missing_column",
                        f"{uri} has no column {' or '.join(_EMBEDDING_COLUMNS)}; its "
                        f"columns are: {', '.join(names)}",
                    )
                key = _column(names, _ID_COLUMNS)
                table = file.read([name for name in (key, embedding) if name])
                metadata = file.schema_arrow.metadata or {}
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                "unreadable", f"{uri} is not a Parquet file: {error}"
            ) from None
    ids = [] if key is None else [str(value) for value in table[key].to_pylist()]
    embedder = metadata.get(b"embedder")
    return Embeddings(
        ids, _rows(uri, table[embedding]), embedder.decode() if embedder else None
    )


def _column(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _rows(uri: str, column: Any) -> np.ndarray:
    """Turn a list column into a matrix."""
    import pyarrow.compute as pc

    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise InputError(
            "wrong_shape",
            f"{uri}: embeddings have the lengths {lengths}; all must have the same",
        )
    values = pc.list_flatten(column).to_numpy()
    return _checked(uri, values.reshape(-1, lengths[0]))


def _checked(uri: str, vectors: np.ndarray) -> np.ndarray:
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(
            "wrong_shape" if vectors.ndim != 2 else "wrong_dtype",
            f"{uri} holds {vectors.dtype} {list(vectors.shape)}; store floats [n, d]",
        )
    return vectors.astype(np.float32, copy=False)


def _scaled(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to unit norm; rows that have it keep their bytes."""
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS].astype(np.float64)
        norms = np.sqrt((block * block).sum(axis=1))
        off = (np.abs(norms - 1.0) > NORM_TOLERANCE) & (norms > 0) & np.isfinite(norms)
        vectors[start + np.flatnonzero(off)] = block[off] / norms[off, None]
    return vectors
