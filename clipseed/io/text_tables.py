"""Rows of CSV, TSV and JSONL tables, one by one; use them through `clipseed.io.tables`.

A row that cannot be read (not UTF-8, wrong number of cells, broken quoting or JSON)
becomes a `BadRow` among the good ones and never affects them. pandas, Polars and Arrow
read these formats too, but a bad byte or a stray quote fails their whole table or
swallows the rows after it.

What a table may cost is bounded, since it may come from a stranger: see `text_lines`
and `csv_records`.
"""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from clipseed.errors import InputError
from clipseed.io.csv_records import csv_records
from clipseed.io.text_lines import MAX_ROW_CHARS, read_lines

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_BROKEN_STREAM = (EOFError, zlib.error, gzip.BadGzipFile)
_JSONL_ROWS_FOR_COLUMNS = 100  # JSON writers leave out the keys of empty cells


class Row(NamedTuple):
    """A row that could be read.

    Attributes:
        number: 1 for the first row after the header; blank lines do not count.
        cells: the text of a cell by column name; "" for an empty cell.
        vectors: float32 bytes of the cells that are lists of numbers (Parquet).
    """

    number: int
    cells: dict[str, str]
    vectors: dict[str, bytes]


class BadRow(NamedTuple):
    """A row that could not be read, and why (as in `InputError`)."""

    number: int
    reason: str
    message: str


def text_columns(uri: str, form: str) -> tuple[str, ...]:
    """Return the column names of a "csv", "tsv" or "jsonl" table.

    Raises:
        InputError: `unreadable_table`, `empty_table`, `not_utf8`.
    """
    try:
        names = _jsonl_columns(uri) if form == "jsonl" else _csv_header(uri, form)
    except _BROKEN_STREAM as error:
        raise InputError(
            "unreadable_table", f"{uri} is not valid gzip: {error}; compress it again"
        ) from None
    if not _is_utf8(names):
        raise InputError(
            "not_utf8", f"the header of {uri} is not UTF-8; save it as UTF-8"
        )
    return names


def text_rows(uri: str, form: str) -> Iterator[Row | BadRow]:
    """Yield the rows of a "csv", "tsv" or "jsonl" table."""
    rows = _jsonl_rows(uri) if form == "jsonl" else _csv_rows(uri, form)
    return _until_break(uri, rows)


def read_plain_tsv(uri: str, columns: Sequence[str]) -> Iterator[Row | BadRow]:
    """Yield the rows of a headerless TSV without quoting (CC3M, CC12M).

    Quotes are ordinary characters in these files; a tab always ends a cell.
    """

    def rows() -> Iterator[Row | BadRow]:
        lines = (line for line in read_lines(uri, newline="\n") if line.strip())
        for number, line in enumerate(lines, start=1):
            if len(line) >= MAX_ROW_CHARS:
                yield _too_long(number)
                continue
            cells = line.removesuffix("\n").removesuffix("\r").split("\t")
            yield _row(number, columns, cells)

    return _until_break(uri, rows())


def utf8_row(
    number: int, cells: dict[str, str], vectors: dict[str, bytes]
) -> Row | BadRow:
    """Make a row from cells in which bytes that are not UTF-8 are surrogates."""
    if not _is_utf8(cells.values()):
        return BadRow(number, "not_utf8", "the row is not UTF-8; save it as UTF-8")
    return Row(number, cells, vectors)


def as_text(value: Any) -> str:
    """Write a JSON or Parquet value as a CSV cell would hold it."""
    match value:
        case str():
            return value
        case bytes():
            return value.decode(errors="surrogateescape")
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if math.isnan(value):  # pandas' missing number
            return ""
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, default=str)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _too_long(number: int) -> BadRow:
    message = f"the line has {MAX_ROW_CHARS} characters or more; shorten its cells"
    return BadRow(number, "row_too_long", message)


def _is_utf8(texts: Iterable[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _until_break(uri: str, rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """Yield `rows`; a stream that ends early becomes one last bad row."""
    number = 0
    try:
        for row in rows:
            number = row.number
            yield row
    except _BROKEN_STREAM as error:
        message = f"{uri} is truncated after row {number}: {error}; copy it again"
        yield BadRow(number + 1, "truncated_table", message)
    except InputError as error:
        if error.reason != "expands_too_much":
            raise
        yield BadRow(number + 1, error.reason, error.message)


def _row(number: int, columns: Sequence[str], cells: Sequence[str]) -> Row | BadRow:
    if len(cells) != len(columns):
        message = (
            f"the row has {len(cells)} cells, but the table has {len(columns)} columns"
        )
        return BadRow(number, "wrong_cell_count", message)
    return utf8_row(number, dict(zip(columns, cells, strict=True)), {})


# --- CSV and TSV with a header -------------------------------------------------------


def _csv_header(uri: str, form: str) -> tuple[str, ...]:
    header = next(csv_records(read_lines(uri, newline=""), _DELIMITERS[form]), None)
    if header is None:
        raise InputError("empty_table", f"{uri} has no header row; add one")
    if isinstance(header, InputError):
        raise InputError("unreadable_table", f"the header of {uri}: {header.message}")
    return tuple(header)


def _csv_rows(uri: str, form: str) -> Iterator[Row | BadRow]:
    """Yield rows; what follows a row that is too long, up to a good one, is part of it.

    It would otherwise become a dead letter for each line of one huge cell.
    """
    records = csv_records(read_lines(uri, newline=""), _DELIMITERS[form])
    header = next(records, None)
    if not isinstance(header, list):
        return  # `text_columns` reports why
    number, in_long_row = 1, False
    for cells in records:
        row = (
            BadRow(number, cells.reason, cells.message)
            if isinstance(cells, InputError)
            else _row(number, header, cells)
        )
        if in_long_row and isinstance(row, BadRow):
            continue
        yield row
        in_long_row = isinstance(row, BadRow) and row.reason == "row_too_long"
        number += 1


# --- JSONL ---------------------------------------------------------------------------


def _jsonl_columns(uri: str) -> tuple[str, ...]:
    names: dict[str, None] = {}  # a set that keeps its order
    why = "it has no rows"
    for row in islice(_jsonl_rows(uri), _JSONL_ROWS_FOR_COLUMNS):
        if isinstance(row, Row):
            names.update(dict.fromkeys(row.cells))
        else:
            why = row.message
    if not names:
        raise InputError("empty_table", f"{uri} has no column: {why}")
    return tuple(names)


def _jsonl_rows(uri: str) -> Iterator[Row | BadRow]:
    lines = (line for line in read_lines(uri, newline="\n") if line.strip())
    for number, line in enumerate(lines, start=1):
        if len(line) >= MAX_ROW_CHARS:
            yield _too_long(number)
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield BadRow(number, "bad_json", f"the line is not JSON: {error}")
            continue
        if isinstance(record, dict):
            cells = {name: as_text(value) for name, value in record.items()}
            yield utf8_row(number, cells, {})
        else:
            yield BadRow(number, "bad_json", "the line is not a JSON object {…}")
