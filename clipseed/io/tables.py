"""Rows of a table, one by one, from CSV, TSV, JSONL or Parquet.

Text tables may be gzipped; all are streamed, so memory does not grow with the table. A
row that cannot be read becomes a `BadRow` and never affects other rows.

    columns = read_columns("pairs.csv")
    image = require_column("pairs.csv", columns, "image", ("image", "path"))
    for row in read_rows("pairs.csv", only=(image,)): ...
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from clipseed.errors import InputError
from clipseed.io.storage import open_binary
from clipseed.io.text_tables import (
    BadRow,
    Row,
    as_text,
    read_plain_tsv,
    text_columns,
    text_rows,
    utf8_row,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "BadRow",
    "Row",
    "find_column",
    "read_columns",
    "read_metadata",
    "read_plain_tsv",
    "read_rows",
    "require_column",
    "table_format",
]

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_PARQUET_BATCH_ROWS = 1024


def table_format(uri: str) -> str | None:
    """Return "csv", "tsv", "jsonl" or "parquet" by extension, None for the rest."""
    name = uri.lower()
    stem = name.removesuffix(".gz")
    found = next((form for end, form in _FORMATS.items() if stem.endswith(end)), None)
    return None if found == "parquet" and stem != name else found


def read_columns(uri: str) -> tuple[str, ...]:
    """Return a table's column names as written, in order.

    For JSONL these are the keys of its first hundred rows.

    Raises:
        InputError: `unknown_table_format`, `unreadable_table`, `empty_table`,
        `not_utf8`.
    """
    form = _required_format(uri)
    if form != "parquet":
        return text_columns(uri, form)
    with _parquet(uri) as table:
        return tuple(table.schema_arrow.names)


def read_rows(uri: str, only: Sequence[str] | None = None) -> Iterator[Row | BadRow]:
    """Yield the rows of a table that has a header (or keys, or a schema).

    Args:
        uri: local path or `gs://`; the extension decides the format.
        only: columns that the caller needs, as `read_columns` names them. Parquet
            reads these only; text formats have to read all.

    Raises:
        InputError: `unknown_table_format`; `unreadable_table` for a damaged Parquet
            file.
    """
    form = _required_format(uri)
    return _parquet_rows(uri, only) if form == "parquet" else text_rows(uri, form)


def read_metadata(uri: str) -> dict[str, str]:
    """Return the key-value metadata of a Parquet table; non-UTF-8 is escaped."""
    with _parquet(uri) as table:
        metadata = table.schema_arrow.metadata or {}
    return {
        key.decode(errors="backslashreplace"): value.decode(errors="backslashreplace")
        for key, value in metadata.items()
    }


def find_column(columns: Iterable[str], aliases: Sequence[str]) -> str | None:
    """Return the column with the earliest of `aliases` (any case), or None.

    Raises:
        InputError: `ambiguous_column` when two columns have the name.
    """
    names = list(columns)
    for alias in aliases:
        found = [name for name in names if name.strip().lower() == alias.lower()]
        if len(found) > 1:
            raise InputError(
                "ambiguous_column", f"two columns are named {alias!r}; rename one"
            )
        if found:
            return found[0]
    return None


def require_column(
    uri: str, columns: Sequence[str], field: str, aliases: Sequence[str]
) -> str:
    """Return the column of table `uri` that holds `field`.

    Raises:
        InputError: `missing_column`, with the columns of the table;
            `ambiguous_column`.
    """
    found = find_column(columns, aliases)
    if found is None:
        raise InputError(
            "missing_column",
            f"{uri} has no {field} column (looked for {', '.join(aliases)}); "
            f"its columns are: {', '.join(columns)}",
        )
    return found


def _required_format(uri: str) -> str:
    form = table_format(uri)
    if form is None:
        raise InputError(
            "unknown_table_format",
            f"{uri} does not have the extension of a table; use one of "
            f"{', '.join(_FORMATS)} (text tables also with .gz)",
        )
    return form


# --- Parquet -------------------------------------------------------------------------


@contextmanager
def _parquet(uri: str) -> Iterator["pq.ParquetFile"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_binary(uri) as file:
        try:
            table = pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                "unreadable_table", f"{uri} is not a Parquet file: {error}"
            ) from None
        with table:
            yield table


def _parquet_rows(uri: str, only: Sequence[str] | None) -> Iterator[Row | BadRow]:
    import pyarrow as pa

    number = 0
    with _parquet(uri) as table:
        columns = None if only is None else list(only)
        batches = table.iter_batches(_PARQUET_BATCH_ROWS, columns=columns)
        try:
            for batch in batches:
                for row in _batch_rows(batch, number + 1):
                    number = row.number
                    yield row
        except (pa.ArrowException, OSError) as error:
            message = f"{uri} cannot be read after row {number}: {error}; copy it again"
            yield BadRow(number + 1, "truncated_table", message)


def _batch_rows(batch: "pa.RecordBatch", first_number: int) -> Iterator[Row | BadRow]:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    vectors = {n: c for n, c in columns.items() if _is_vector(c.type)}
    texts = {n: _cell_values(c) for n, c in columns.items() if n not in vectors}
    for i in range(batch.num_rows):
        cells = {name: as_text(values[i]) for name, values in texts.items()}
        floats = {
            name: data
            for name, column in vectors.items()
            if (data := _float32_bytes(column[i])) is not None
        }
        yield utf8_row(first_number + i, cells, floats)


def _is_vector(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    lists = pa.ListType | pa.LargeListType | pa.FixedSizeListType
    return isinstance(kind, lists) and pa.types.is_floating(kind.value_type)


def _cell_values(column: "pa.Array") -> list[Any]:
    """Return Python values; text as bytes, so that a bad cell affects its row only."""
    import pyarrow as pa
    import pyarrow.types as t

    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if t.is_string(column.type) or t.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return column.to_pylist()


def _float32_bytes(cell: "pa.ListScalar") -> bytes | None:
    """Return the vector of a cell as float32; None for an empty cell."""
    if cell.values is None:
        return None
    values = cell.values.to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).tobytes()
