"""Rows of a table, one by one, from CSV, TSV, JSONL or Parquet.

Text tables may be gzipped; all are streamed, so memory does not grow with the table. A
row that cannot be read becomes a `BadRow` and never affects other rows.

    columns = read_columns("pairs.csv")
    image = require_column("pairs.csv", columns, "image", ("image", "path"))
    for row in read_rows("pairs.csv", only=(image,)): ...
"""

from collections.abc import Iterable, Iterator, Sequence

from clipseed.errors import InputError
from clipseed.io.parquet_table import open_parquet, parquet_rows
from clipseed.io.text_tables import (
    BadRow,
    Row,
    read_plain_tsv,
    text_columns,
    text_rows,
)

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
_SHOWN_COLUMNS, _SHOWN_CHARS = 20, 40


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
    with open_parquet(uri) as table:
        return tuple(table.schema_arrow.names)


def read_rows(uri: str, only: Sequence[str] | None = None) -> Iterator[Row | BadRow]:
    """Yield the rows of a table that has a header (or keys, or a schema).

    Args:
        uri: local path or `gs://`; the extension decides the format.
        only: columns that the caller needs, as `read_columns` names them. Parquet
            reads these only; text formats have to read all.

    Raises:
        InputError: `unknown_table_format`; for Parquet, `unreadable_table` if it is
            damaged, and `expands_too_much`.
    """
    form = _required_format(uri)
    return parquet_rows(uri, only) if form == "parquet" else text_rows(uri, form)


def read_metadata(uri: str) -> dict[str, str]:
    """Return the key-value metadata of a Parquet table; non-UTF-8 is escaped."""
    with open_parquet(uri) as table:
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
            f"its columns are: {_some(columns)}",
        )
    return found


def _some(columns: Sequence[str]) -> str:
    """Return the names as a message can hold them."""
    shown = [name[:_SHOWN_CHARS] for name in columns[:_SHOWN_COLUMNS]]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _required_format(uri: str) -> str:
    form = table_format(uri)
    if form is None:
        raise InputError(
            "unknown_table_format",
            f"{uri} does not have the extension of a table; use one of "
            f"{', '.join(_FORMATS)} (text tables also with .gz)",
        )
    return form
