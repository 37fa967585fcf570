"""Rows of Parquet tables, one by one; use them through `clipseed.io.tables`.

A table may come from a stranger: a few bytes can encode any number of values. By
its footer a table may expand at most `_MAX_EXPANSION` times, text that repeats is
held once, and a row has at most `MAX_ROW_CHARS` bytes of text. A footer that declares
less than its pages hold is not noticed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from clipseed.errors import InputError
from clipseed.io.storage import open_binary
from clipseed.io.text_lines import MAX_ROW_CHARS
from clipseed.io.text_tables import BadRow, Row, as_text, utf8_row

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 4096  # Beyond that it gets no faster.
_MAX_EXPANSION = 200
_MAX_EXPANDED_BYTES = 1 << 26  # Up to here a small file may expand as it likes.
_VALUE_BYTES = 4


@contextmanager
def open_parquet(uri: str) -> Iterator["pq.ParquetFile"]:
    """Open a table; its columns of text are dictionaries.

    Raises:
        InputError: `unreadable_table`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_binary(uri) as file:
        try:
            schema = pq.read_schema(file)
            texts = [field.name for field in schema if _is_text(field.type)]
            table = pq.ParquetFile(file, read_dictionary=texts)
        except (pa.ArrowException, OSError) as error:
            why = " ".join(str(error).split())  # Arrow's messages have many lines.
            raise InputError(
                "unreadable_table", f"{uri} is not a Parquet file: {why}"
            ) from None
        with table:
            yield table


def parquet_rows(uri: str, only: Sequence[str] | None) -> Iterator[Row | BadRow]:
    """Yield the rows of a table; `only` names the columns to read.

    Raises:
        InputError: `unreadable_table`, `expands_too_much`.
    """
    import pyarrow as pa

    number = 0
    with open_parquet(uri) as table:
        try:
            _check_expansion(uri, table, only)
            for batch in _batches(table, only):
                for row in _batch_rows(batch, number + 1):
                    number = row.number
                    yield row
        except (pa.ArrowException, OSError) as error:
            why = " ".join(str(error).split())
            message = f"{uri} cannot be read after row {number}: {why}; copy it again"
            yield BadRow(number + 1, "truncated_table", message)


def _batches(
    table: "pq.ParquetFile", only: Sequence[str] | None
) -> Iterator["pa.RecordBatch"]:
    """Yield batches within row groups, so that a damaged one leaves those before it."""
    columns = None if only is None else list(only)
    for group in range(table.num_row_groups):
        yield from table.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns)


def _check_expansion(
    uri: str, table: "pq.ParquetFile", only: Sequence[str] | None
) -> None:
    """Compare what the footer says of the columns with the bytes that they have."""
    groups = [table.metadata.row_group(i) for i in range(table.num_row_groups)]
    columns = [
        column
        for group in groups
        for column in map(group.column, range(group.num_columns))
        if only is None or _is_part_of(column.path_in_schema, only)
    ]
    stored = sum(column.total_compressed_size for column in columns)
    expanded = sum(
        max(column.total_uncompressed_size, column.num_values * _VALUE_BYTES)
        for column in columns
    )
    if expanded > max(_MAX_EXPANDED_BYTES, _MAX_EXPANSION * stored):
        raise InputError(
            "expands_too_much",
            f"{uri} has {expanded} bytes in {stored}, more than {_MAX_EXPANSION} times "
            "as many, which no table of captions has; look at it",
        )


def _is_part_of(path: str, names: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _batch_rows(batch: "pa.RecordBatch", first_number: int) -> Iterator[Row | BadRow]:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    vectors = {n: c for n, c in columns.items() if _is_vector(c.type)}
    texts = {n: _cell_values(c) for n, c in columns.items() if n not in vectors}
    for i in range(batch.num_rows):
        number = first_number + i
        raw = {name: values[i] for name, values in texts.items()}
        length = sum(len(v) for v in raw.values() if isinstance(v, bytes))
        if length > MAX_ROW_CHARS:
            message = f"the row has {length} bytes of text, too many for a caption"
            yield BadRow(number, "row_too_long", message)
            continue
        cells = {name: as_text(value) for name, value in raw.items()}
        floats = {
            name: data
            for name, column in vectors.items()
            if (data := _float32_bytes(column[i])) is not None
        }
        yield utf8_row(number, cells, floats)


def _is_vector(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    lists = pa.ListType | pa.LargeListType | pa.FixedSizeListType
    return isinstance(kind, lists) and pa.types.is_floating(kind.value_type)


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as t

    return t.is_string(kind) or t.is_large_string(kind) or t.is_binary(kind)


def _cell_values(column: "pa.Array") -> list[Any]:
    """Return Python values; text as bytes, so that a bad cell affects its row only.

    Equal cells of a dictionary are one object.
    """
    import pyarrow as pa
    import pyarrow.types as t

    if isinstance(column, pa.DictionaryArray):
        used = column.indices.unique()
        values = _cell_values(column.dictionary.take(used))
        value_of = dict(zip(used.to_pylist(), values, strict=True))
        return [value_of[index] for index in column.indices.to_pylist()]
    if t.is_string(column.type) or t.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return column.to_pylist()


def _float32_bytes(cell: "pa.ListScalar") -> bytes | None:
    """Return the vector of a cell as float32; None for an empty cell."""
    if cell.values is None:
        return None
    values = cell.values.to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32).tobytes()
