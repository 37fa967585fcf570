"""Records of CSV, of which a bad one never affects the others."""

import csv
from collections import deque
from collections.abc import Iterator

from clipseed.errors import InputError
from clipseed.io.text_lines import MAX_ROW_CHARS

# Characters that may be read again: at the start, and per character of the table.
_REREAD_CHARS = 4 * MAX_ROW_CHARS
_REREAD_SHARE = 4


def csv_records(
    lines: Iterator[str], delimiter: str
) -> Iterator[list[str] | InputError]:
    """Yield the cells of each record; blank lines are skipped.

    A stray quote makes a parser swallow the lines after it. Therefore, when a record
    cannot be parsed, only its first line is dropped and the lines after it are read
    again: as often as `_Rereading` allows, since lines exist of which each one makes
    the parser swallow all the others (`x","`).
    """
    source = _Rereading(lines)
    while True:
        try:
            cells = next(csv.reader(source, delimiter=delimiter, strict=True), None)
            source.accept()
        except csv.Error as error:
            is_too_long = source.is_too_long
            yield _bad_record(error, is_too_long, source.give_back())
            continue
        if cells is None:
            return
        if cells:
            yield cells


def _bad_record(error: csv.Error, too_long: bool, dropped_lines: int) -> InputError:
    more = f" (with {dropped_lines - 1} lines after it)" if dropped_lines > 1 else ""
    if too_long or "field limit" in str(error):
        return InputError(
            "row_too_long",
            f"the row{more} has a cell of more than {csv.field_size_limit()} "
            f"characters, more than {MAX_ROW_CHARS} in all, or a quote that is never "
            "closed; shorten it, or close the quote",
        )
    return InputError(
        "bad_csv", f"{error}{more}; double the quotes inside a quoted cell"
    )


class _Rereading(Iterator[str]):
    """Lines of which those of a record that failed can be read again."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._waiting: deque[str] = deque()
        self._credit_chars = _REREAD_CHARS
        self._start_record()

    def __next__(self) -> str:
        """Return the next line, or raise csv.Error if the record is too long."""
        self._check_length()
        if self._waiting:
            line = self._waiting.popleft()
        else:
            line = next(self._lines)
            self._credit_chars += _REREAD_SHARE * len(line)
        self._taken.append(line)
        self._chars += len(line)
        return line

    @property
    def is_too_long(self) -> bool:
        """Whether the record is too long, as far as it was read."""
        return self._chars >= MAX_ROW_CHARS

    def accept(self) -> None:
        """Start the next record, or raise csv.Error if this one is too long."""
        self._check_length()
        self._start_record()

    def give_back(self) -> int:
        """Start again after the first line of the record that failed.

        Returns:
            How many lines are dropped: 1, or all that were taken, when too many have
            been read again before.
        """
        again = self._taken[1:]
        self._credit_chars -= self._chars
        if self._credit_chars < 0:
            self._credit_chars, again = 0, []
        dropped = len(self._taken) - len(again)
        self._waiting.extendleft(reversed(again))
        self._start_record()
        return dropped

    def _start_record(self) -> None:
        self._taken: list[str] = []
        self._chars = 0

    def _check_length(self) -> None:
        if self.is_too_long:
            raise csv.Error("the record is too long")
