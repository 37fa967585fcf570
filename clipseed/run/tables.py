"""The tables of a run: `pairs.csv`, `rejected/`, and the others in Parquet.

Writers take rows in their final order and a local path; readers take a URI and yield
the rows of one file.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from clipseed.elements import Pair, RankedMatch
from clipseed.errors import DeadLetter, InputError
from clipseed.io import storage
from clipseed.run.outcomes import SeedOutcome, VideoOutcome

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = {str: "string", int: "int64", float: "float32"}
_SMALL = {"rank"}  # int32
_Row = TypeVar("_Row", bound=NamedTuple)


class CsvPair(NamedTuple):
    """A row of `pairs.csv`, in the layout of VideoCC's."""

    video: str
    start_us: int
    end_us: int
    caption: str


# --- writing -------------------------------------------------------------------------


def write_pairs(path: str, pairs: Sequence[Pair], config_hash: str) -> int:
    """Write a shard of `pairs/`; return the number of rows.

    Args:
        path: local.
        pairs: in their order.
        config_hash: of the settings; stored in the metadata.
    """
    return _write_parquet(path, pairs, Pair, config_hash)


def write_matches(path: str, matches: Sequence[RankedMatch], config_hash: str) -> int:
    """Write a shard of `matches/`, as `write_pairs` does."""
    return _write_parquet(path, matches, RankedMatch, config_hash)


def write_videos(path: str, videos: Sequence[VideoOutcome], config_hash: str) -> int:
    """Write a shard of `videos/`, as `write_pairs` does."""
    return _write_parquet(path, videos, VideoOutcome, config_hash)


def write_seeds(path: str, seeds: Sequence[SeedOutcome], config_hash: str) -> int:
    """Write a shard of `seeds/`, as `write_pairs` does."""
    return _write_parquet(path, seeds, SeedOutcome, config_hash)


def write_dead_letters(path: str, rejected: Iterable[DeadLetter]) -> int:
    """Write a shard of `rejected/`, one line of JSON each; return their number."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for dead_letter in rejected:
            file.write(json.dumps(dead_letter._asdict(), ensure_ascii=False) + "\n")
            count += 1
    return count


def write_pairs_csv(path: str, pairs: Iterable[CsvPair]) -> int:
    """Write `pairs.csv`, without a header; return the number of rows."""
    count = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        for pair in pairs:
            writer.writerow(pair)
            count += 1
    return count


def _write_parquet(
    path: str, rows: Sequence[_Row], element: type[_Row], config_hash: str
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(element).with_metadata({"config_hash": config_hash})
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    if rows:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)
    else:  # `datasets` fails on a row group without rows, which write_table would make.
        pq.ParquetWriter(path, schema).close()
    return len(rows)


def _schema(element: type[NamedTuple]) -> "pa.Schema":
    """Return the Arrow schema of an element's fields."""
    import pyarrow as pa

    def kind(name: str, annotation: type) -> "pa.DataType":
        if name in _SMALL:
            return pa.int32()
        return getattr(pa, _KINDS[annotation])()

    hints = element.__annotations__.items()
    return pa.schema([(name, kind(name, annotation)) for name, annotation in hints])


# --- reading -------------------------------------------------------------------------


def read_pairs(uri: str) -> Iterator[Pair]:
    """Yield the rows of a shard of `pairs/`.

    Raises:
        InputError: `damaged_run` or `not_found`.
    """
    return _read_parquet(uri, Pair)


def read_matches(uri: str) -> Iterator[RankedMatch]:
    """Yield the rows of a shard of `matches/`; raise as `read_pairs` does."""
    return _read_parquet(uri, RankedMatch)


def read_videos(uri: str) -> Iterator[VideoOutcome]:
    """Yield the rows of a shard of `videos/`; raise as `read_pairs` does."""
    return _read_parquet(uri, VideoOutcome)


def read_seeds(uri: str) -> Iterator[SeedOutcome]:
    """Yield the rows of a shard of `seeds/`; raise as `read_pairs` does."""
    return _read_parquet(uri, SeedOutcome)


def read_dead_letters(uri: str) -> Iterator[DeadLetter]:
    """Yield the rows of a shard of `rejected/`; raise as `read_pairs` does."""
    with _naming_damage(uri), storage.open_binary(uri) as file:
        for line in file:
            yield DeadLetter(**json.loads(line))


def read_pairs_csv(uri: str) -> Iterator[CsvPair]:
    """Yield the rows of a `pairs.csv`, with or without a header.

    Raises:
        InputError: `bad_pairs_row` for a row that is not in the layout; `not_found`.
    """
    with storage.open_text(uri) as file:
        for number, row in enumerate(csv.reader(file), start=1):
            try:
                video, start_us, end_us, caption = row
                pair = CsvPair(video, int(start_us), int(end_us), caption)
            except ValueError as error:
                if number == 1 and len(row) == 4:
                    continue  # the header
                message = f"{uri}, row {number}: expected video, start, end, caption"
                raise InputError("bad_pairs_row", message) from error
            yield pair


def _read_parquet(uri: str, element: type[_Row]) -> Iterator[_Row]:
    import pyarrow.parquet as pq

    columns = list(element._fields)
    with (
        storage.localize(uri) as path,
        _naming_damage(uri),
        pq.ParquetFile(path) as file,
    ):
        for batch in file.iter_batches(columns=columns):
            found = batch.to_pydict()
            yield from map(element._make, zip(*map(found.get, columns), strict=True))


@contextmanager
def _naming_damage(uri: str) -> Iterator[None]:
    """Turn what a file of wrong content may raise into an InputError."""
    try:
        yield
    # Arrow's exceptions are of these classes, and so are those of bad JSON and UTF-8.
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        message = f"{uri} is damaged ({error}); copy the run again, or mine it again"
        raise InputError("damaged_run", message) from error
