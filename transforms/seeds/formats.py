"""Captioned images in the usual formats: CC3M, CC12M, tables, webdataset shards.

    for uri in list_seed_files("cc3m/*.tar"):
        for seed in read_seeds(uri): ...  # SeedRow or DeadLetter

Images are not opened here; a row only has the location of its image.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np

from clipseed.elements import SeedRow
from clipseed.errors import DeadLetter, InputError
from clipseed.io.listing import list_files
from clipseed.io.storage import is_inside, join, parent
from clipseed.io.tables import (
    BadRow,
    Row,
    find_column,
    read_columns,
    read_metadata,
    read_plain_tsv,
    read_rows,
    require_column,
    table_format,
)
from transforms.seeds.webdataset import read_shard

SeedsFormat = Literal["auto", "cc3m", "cc12m", "table", "webdataset"]

_STAGE = "read_seeds"
_IMAGE = ("image", "image_path", "path", "file", "filename", "url", "image_url", "uri")
_CAPTION = ("caption", "text", "title")
_PLAIN_TSV = {"cc3m": ("caption", "image"), "cc12m": ("image", "caption")}
_ROWS_TO_SNIFF = 20
_GLOB_SIGNS = frozenset("*?[")
_REFERENCE = re.compile(
    r"[a-z][a-z0-9+.-]*://\S+|\S+\.(jpe?g|png|webp|gif|bmp|tiff?)", re.IGNORECASE
)


@dataclass(frozen=True)
class SeedsConfig:
    """How to read a seeds source.

    Attributes:
        format: "auto" detects the format by extension and first rows.
        image_column: a table's image column, if it does not have a usual name.
        caption_column: a table's caption column, if it does not have a usual name.
        allow_outside: whether a table may name local images outside its folder.
    """

    format: SeedsFormat = "auto"
    image_column: str | None = None
    caption_column: str | None = None
    allow_outside: bool = False


class EmbeddingInfo(NamedTuple):
    """The embedder and dimension of a table's precomputed embeddings."""

    embedder: str | None
    dimension: int


class _SeedColumns(NamedTuple):
    image: str
    caption: str
    embedding: str | None = None
    embedder: str | None = None


def list_seed_files(seeds: str) -> list[str]:
    """Return the files of a seeds source (a file, folder or glob), sorted.

    In a folder only shards and tables count. In a folder with shards, tables are
    img2dataset's side files and are ignored.

    Raises:
        InputError: `no_seeds`.
    """
    files = sorted(list_files(seeds))
    is_glob = not _GLOB_SIGNS.isdisjoint(seeds)
    shards = [uri for uri in files if uri.lower().endswith(".tar")]
    tables = [uri for uri in files if table_format(uri)]
    named = files if files == [seeds] or is_glob else []  # The user chose these files.
    chosen = shards or tables or named
    if not chosen:
        raise InputError(
            "no_seeds",
            f"{seeds} has no seeds, only {len(files)} other files; name .tar shards or "
            ".csv, .tsv, .jsonl, .parquet tables",
        )
    return chosen


def read_seeds(
    uri: str, config: SeedsConfig = SeedsConfig()
) -> Iterator[SeedRow | DeadLetter]:
    """Yield the rows of one file of a seeds source; unusable ones as dead letters.

    Args:
        uri: local path or `gs://`, as `list_seed_files` returns it.
        config: format and column names.

    Raises:
        InputError: before the first row, when the whole file is unusable:
            `missing_column`, `unknown_seeds_format`, and those of `read_columns`.
    """
    form = seeds_format(uri, config) if config.format == "auto" else config.format
    if form == "webdataset":
        for item in read_shard(uri):
            yield item if isinstance(item, DeadLetter) else _usable(item)
    elif form == "table":
        yield from _table_seeds(uri, config)
    else:
        columns = _SeedColumns("image", "caption")
        for row in read_plain_tsv(uri, _PLAIN_TSV[form]):
            yield _seed(uri, row, columns, None, config.allow_outside)


def seeds_format(uri: str, config: SeedsConfig = SeedsConfig()) -> SeedsFormat:
    """Detect the format of a seeds file by its extension and, for TSV, first rows.

    Raises:
        InputError: `unknown_seeds_format`.
    """
    if uri.lower().endswith(".tar"):
        return "webdataset"
    kind = table_format(uri)
    has_header = bool(config.image_column or config.caption_column)
    if kind == "tsv" and not has_header:
        return _tsv_format(uri)
    if kind:
        return "table"
    raise InputError(
        "unknown_seeds_format",
        f"{uri} does not have the extension of a known format; set --seeds_format",
    )


def seed_embedding_info(uri: str) -> EmbeddingInfo | None:
    """Return the info of a Parquet table with an `embedding` column, None for others.

    The embedder is in the file's key-value metadata (`embedder`), or in the first row
    of a column of that name.
    """
    if table_format(uri) != "parquet":
        return None
    columns = read_columns(uri)
    embedding = find_column(columns, ("embedding",))
    embedder = find_column(columns, ("embedder",))
    if embedding is None:
        return None
    for row in read_rows(uri, only=[c for c in (embedding, embedder) if c]):
        if isinstance(row, Row) and embedding in row.vectors:
            named = read_metadata(uri).get("embedder") or row.cells.get(embedder or "")
            dimension = len(row.vectors[embedding]) // np.float32().nbytes
            return EmbeddingInfo(named or None, dimension)
    return None


def _tsv_format(uri: str) -> SeedsFormat:
    """Distinguish CC3M, CC12M and TSV with a header by where the references are."""
    rows = islice(read_plain_tsv(uri, ("first", "second")), _ROWS_TO_SNIFF)
    pairs = [tuple(row.cells.values()) for row in rows if isinstance(row, Row)]
    if not pairs or (find_column(pairs[0], _IMAGE) and find_column(pairs[0], _CAPTION)):
        return "table"
    is_reference = [
        [bool(_REFERENCE.fullmatch(c.strip())) for c in pair] for pair in pairs
    ]
    first, second = (sum(column) for column in zip(*is_reference, strict=True))
    if first == second:
        raise InputError(
            "unknown_seeds_format",
            f"{uri}: cannot detect which column has the captions; set --seeds_format "
            "to cc3m (caption, url), cc12m (url, caption) or table",
        )
    if not any(is_reference[0]):  # A header without the usual names.
        return "table"
    return "cc12m" if first > second else "cc3m"


def _table_seeds(uri: str, config: SeedsConfig) -> Iterator[SeedRow | DeadLetter]:
    names = read_columns(uri)
    image = (config.image_column,) if config.image_column else _IMAGE
    caption = (config.caption_column,) if config.caption_column else _CAPTION
    is_parquet = table_format(uri) == "parquet"
    columns = _SeedColumns(
        image=require_column(uri, names, "image", image),
        caption=require_column(uri, names, "caption", caption),
        embedding=find_column(names, ("embedding",)) if is_parquet else None,
        embedder=find_column(names, ("embedder",)) if is_parquet else None,
    )
    info = seed_embedding_info(uri)
    for row in read_rows(uri, only=[name for name in columns if name]):
        yield _seed(uri, row, columns, info, config.allow_outside)


def _seed(
    uri: str,
    row: Row | BadRow,
    columns: _SeedColumns,
    info: EmbeddingInfo | None,
    allow_outside: bool,
) -> SeedRow | DeadLetter:
    """Make a seed of one table row."""
    place = f"{uri}:{row.number}"
    if isinstance(row, BadRow):
        return DeadLetter(_STAGE, place, row.reason, row.message)
    reference = row.cells.get(columns.image, "").strip()
    if not reference:
        message = f"the row is empty in column {columns.image}; name an image"
        return DeadLetter(_STAGE, place, "missing_image", message)
    try:
        target = _target(parent(uri), reference, allow_outside)
        embedding = _embedding(row, columns, info) if columns.embedding else b""
    except InputError as error:
        return DeadLetter(_STAGE, reference, error.reason, error.message)
    caption = row.cells.get(columns.caption, "")
    return _usable(SeedRow(reference, target, caption, embedding=embedding))


def _target(folder: str, reference: str, allow_outside: bool) -> str:
    """Return where an image is; a table may come from a stranger.

    Raises:
        InputError: `outside_folder` for a local file that is not in the table's folder.
    """
    target = join(folder, reference)
    if not allow_outside and not is_inside(folder, target):
        raise InputError(
            "outside_folder",
            f"the image is not in the folder of the table, {folder}; move it there, or "
            "allow others with --allow_outside",
        )
    return target


def _usable(seed: SeedRow) -> SeedRow | DeadLetter:
    if seed.caption.strip():
        return seed
    message = "the caption is empty or blank"
    return DeadLetter(_STAGE, seed.reference, "empty_caption", message)


def _embedding(row: Row, columns: _SeedColumns, info: EmbeddingInfo | None) -> bytes:
    """Return a row's embedding as unit-norm float32 bytes.

    Raises:
        InputError: `missing_embedding`, `bad_embedding`, `embedder_mismatch`.
    """
    stored = row.vectors.get(columns.embedding or "")
    if stored is None or info is None:
        raise InputError(
            "missing_embedding", "the row has no embedding (a list of floats)"
        )
    embedder = row.cells.get(columns.embedder or "") or info.embedder
    if embedder != info.embedder:
        message = (
            f"the row's embedder is {embedder!r}, but the table's {info.embedder!r}"
        )
        raise InputError("embedder_mismatch", message)
    vector = np.frombuffer(stored, np.float32)
    norm = np.linalg.norm(vector)
    if vector.size != info.dimension or not np.isfinite(norm) or norm == 0:
        raise InputError(
            "bad_embedding",
            f"the embedding has {vector.size} floats; it must have {info.dimension}, "
            "finite and not all zero",
        )
    return (vector / norm).astype(np.float32).tobytes()
