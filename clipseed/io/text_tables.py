"""Rows of CSV, TSV and JSONL tables, one by one; use them through `clipseed.io.tables`.

A row that cannot be read (not UTF-8, wrong number of cells, broken quoting or JSON)
becomes a `BadRow` among the good ones and never affects them. pandas, Polars and Arrow
read these formats too, but a bad byte or a stray quote fails their whole table or
swallows the rows after it.
"""

import csv
import gzip
import io
import json
import math
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from clipseed.errors import InputError
from clipseed.io.storage import open_binary

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
        lines = (line for line in _lines(uri, newline="\n") if line.strip())
        for number, line in enumerate(lines, start=1):
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


def _lines(uri: str, newline: str) -> Iterator[str]:
    """Yield lines with their ends; bytes that are not UTF-8 become surrogates.

    The surrogates show which row is bad; a strict decoder would fail the whole stream.
    """
    with open_binary(uri) as raw:
        zipped = uri.lower().endswith(".gz")
        stream = gzip.GzipFile(fileobj=raw) if zipped else raw
        with io.TextIOWrapper(
            stream, "utf-8-sig", errors="surrogateescape", newline=newline
        ) as text:
            yield from text


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


def _row(number: int, columns: Sequence[str], cells: Sequence[str]) -> Row | BadRow:
    if len(cells) != len(columns):
        message = (
            f"the row has {len(cells)} cells, but the table has {len(columns)} columns"
        )
        return BadRow(number, "wrong_cell_count", message)
    return utf8_row(number, dict(zip(columns, cells, strict=True)), {})


# --- CSV and TSV with a header -------------------------------------------------------


def _csv_header(uri: str, form: str) -> tuple[str, ...]:
    header = next(_csv_records(_lines(uri, newline=""), _DELIMITERS[form]), None)
    if header is None:
        raise InputError("empty_table", f"{uri} has no header row; add one")
    if isinstance(header, InputError):
        raise InputError("unreadable_table", f"the header of {uri}: {header.message}")
    return tuple(header)


def _csv_rows(uri: str, form: str) -> Iterator[Row | BadRow]:
    records = _csv_records(_lines(uri, newline=""), _DELIMITERS[form])
    header = next(records, None)
    if not isinstance(header, list):
        return  # `text_columns` reports why
    for number, cells in enumerate(records, start=1):
        if isinstance(cells, InputError):
            yield BadRow(number, cells.reason, cells.message)
        else:
            yield _row(number, header, cells)


def _csv_records(
    lines: Iterator[str], delimiter: str
) -> Iterator[list[str] | InputError]:
    """Yield the cells of each record; blank lines are skipped.

    A stray quote makes a parser swallow the lines after it. Therefore, when a record
    cannot be parsed, only its first line is dropped and the lines after it are read
    again.
    """
    waiting: deque[str] = deque()
    while True:
        taken: list[str] = []
        try:
            source = _take(waiting, lines, taken)
            cells = next(csv.reader(source, delimiter=delimiter, strict=True), None)
        except csv.Error as error:
            waiting.extendleft(reversed(taken[1:]))
            yield InputError(
                "bad_csv", f"{error}; double the quotes inside a quoted cell"
            )
            continue
        if cells is None:
            return
        if cells:
            yield cells


def _take(waiting: deque[str], lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    """Yield lines, the waiting ones first, and append each to `taken`."""
    while True:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        taken.append(line)
        yield line


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
    lines = (line for line in _lines(uri, newline="\n") if line.strip())
    for number, line in enumerate(lines, start=1):
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
