"""Read published annotation files row by row, with errors that name the row."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from clipseed.errors import InputError
from clipseed.io import storage

MAX_BYTES = 1 << 28


class Annotated(NamedTuple):
    """A caption of a clip.

    Attributes:
        caption: not empty, without white space around it.
        clip_id: of its clip.
        media: the name of the clip's file, or of its video on YouTube.
        start_us: where the clip starts there.
        end_us: where it ends; -1: with the file.
    """

    caption: str
    clip_id: str
    media: str
    start_us: int = 0
    end_us: int = -1


def bad_row(uri: str, row: int, what: str) -> InputError:
    """Return the error for a row, counted from 1 below the header."""
    return InputError("bad_annotation", f"{uri}, row {row}: {what}; mend or replace it")


def text_of(uri: str, latin_1: bool = False) -> str:
    """Return the text of a file.

    Args:
        uri: local or `gs://`.
        latin_1: whether a file that is not UTF-8 is ISO-8859-1.

    Raises:
        InputError: `bad_annotation` for another encoding, or as `storage.read_bytes`.
    """
    data = storage.read_bytes(uri, MAX_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if latin_1:
            return data.decode("iso-8859-1")
        row = data[: error.start].count(b"\n")
        raise bad_row(uri, row, "it is not UTF-8") from error


def csv_rows(
    uri: str, columns: Sequence[str], latin_1: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file with a header.

    Args:
        uri: local or `gs://`.
        columns: those wanted.
        latin_1: see `text_of`.

    Yields:
        The row's number from 1, and the wanted cells, stripped and not empty.

    Raises:
        InputError: `bad_annotation`, naming the row.
    """
    lines = io.StringIO(text_of(uri, latin_1), newline="")
    rows = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in columns if name not in header]
        if missing:
            raise bad_row(
                uri, 0, f"the header {header} lacks the column {', '.join(missing)}"
            )
        places = [header.index(name) for name in columns]
        for number, cells in enumerate((row for row in rows if row), start=1):
            if len(cells) != len(header):
                what = f"it has {len(cells)} cells, the header {len(header)}"
                raise bad_row(uri, number, what)
            wanted = [cells[place].strip() for place in places]
            empty = [n for n, cell in zip(columns, wanted, strict=True) if not cell]
            if empty:
                raise bad_row(uri, number, f"its {empty[0]} is empty")
            yield number, wanted
    except csv.Error as error:
        raise bad_row(uri, rows.line_num, f"it is not CSV ({error})") from error


def json_rows(
    uri: str, table: str, columns: Sequence[str]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the entries of a list of objects in a JSON file, as `csv_rows` does."""
    try:
        content = json.loads(text_of(uri))
    except (ValueError, RecursionError) as error:
        raise bad_row(uri, 0, f"it is not JSON ({error})") from error
    entries = content.get(table) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise bad_row(uri, 0, f"it has no list {table!r}")
    for number, entry in enumerate(entries, start=1):
        yield number, [_cell(uri, table, number, entry, name) for name in columns]


def _cell(uri: str, table: str, number: int, entry: Any, name: str) -> str:
    cell = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(cell, str) or not cell.strip():
        raise bad_row(uri, number, f"this entry of {table!r} has no text {name!r}")
    return cell.strip()


def find(directory: str, names: Sequence[str]) -> str:
    """Return the first of several files that exists.

    Raises:
        InputError: `no_annotations`, naming all.
    """
    for name in names:
        uri = storage.join(directory, name)
        if storage.exists(uri):
            return uri
    raise InputError(
        "no_annotations",
        f"{directory} has none of {', '.join(names)}; give the folder that holds it",
    )


def duplicates(names: Iterable[str]) -> Iterator[str]:
    """Return the names that were there before."""
    seen = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)
