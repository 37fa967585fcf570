import gzip
import os
import time
import tracemalloc
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipseed.errors import InputError
from clipseed.io import text_lines
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
from clipseed.io.text_lines import MAX_ROW_CHARS
from tests.support.paths import DATA


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def cells(uri: str) -> list[dict[str, str]]:
    rows = list(read_rows(uri))
    assert all(isinstance(row, Row) for row in rows), rows
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    return [row.cells for row in rows if isinstance(row, Row)]


def summary(uri: str) -> list[object]:
    """Return the cells of good rows and the reasons of bad ones."""
    return [
        list(row.cells.values()) if isinstance(row, Row) else row.reason
        for row in read_rows(uri)
    ]


def test_csv_keeps_quoted_newlines_commas_and_quotes(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.csv", b'a,b\r\n1,"x,\r\ny ""z"""\r\n\r\n2,\r\n')
    assert read_columns(uri) == ("a", "b")
    assert cells(uri) == [{"a": "1", "b": 'x,\r\ny "z"'}, {"a": "2", "b": ""}]


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.tsv", b"\xef\xbb\xbfa\tb\n1\t\xc3\xa9\n")
    assert cells(uri) == [{"a": "1", "b": "é"}]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b"a,b\n1,ok\n2,\xff\xfe\n3,ok\n"),
        ("t.tsv", b"a\tb\n1\tok\n2\t\xff\xfe\n3\tok\n"),
        ("t.jsonl", b'{"a":1,"b":"ok"}\n{"a":2,"b":"\xff"}\n{"a":3,"b":"ok"}\n'),
        ("t.jsonl", b'{"a":1,"b":"ok"}\n{"a":2,"b":"\\ud800"}\n{"a":3,"b":"ok"}\n'),
    ],
)
def test_a_row_that_is_not_utf8_fails_alone(
    tmp_path: Path, name: str, data: bytes
) -> None:
    uri = write(tmp_path / name, data)
    assert summary(uri) == [["1", "ok"], "not_utf8", ["3", "ok"]]


def test_wrong_number_of_cells_fails_alone(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.csv", b"a,b\n1\n1,2\n1,2,3\n")
    assert summary(uri) == ["wrong_cell_count", ["1", "2"], "wrong_cell_count"]
    first = next(read_rows(uri))
    assert isinstance(first, BadRow) and first.number == 1
    assert "1 cells" in first.message and "2 columns" in first.message


@pytest.mark.parametrize("stray", [b'"never closed,1', b'"closed" early,1', b'"x,"1"2'])
def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path, stray: bytes) -> None:
    good = [f'"caption {i}",{i}'.encode() for i in range(5)]
    lines = [b"a,b", *good[:2], stray, *good[2:]]
    uri = write(tmp_path / "t.csv", b"\n".join(lines) + b"\n")
    expected: list[object] = [[f"caption {i}", str(i)] for i in range(5)]
    assert summary(uri) == [*expected[:2], "bad_csv", *expected[2:]]


def test_a_stray_quote_in_a_long_table_is_bounded(tmp_path: Path) -> None:
    plain = b"".join(b"caption number %d,%d\n" % (i, i) for i in range(20_000))
    uri = write(tmp_path / "t.csv", b'a,b\n"open,0\n' + plain)
    rows = list(read_rows(uri))
    assert isinstance(rows[0], BadRow)
    assert len(rows) == 20_001 and all(isinstance(row, Row) for row in rows[1:])


def test_jsonl_values_become_text(tmp_path: Path) -> None:
    line = b'{"s":"a\\nb","i":12345678901234567890,"f":0.5,"n":null,"t":true,"l":[1]}'
    uri = write(tmp_path / "t.jsonl", line + b"\r\n\n")
    assert cells(uri) == [
        {
            "s": "a\nb",
            "i": "12345678901234567890",
            "f": "0.5",
            "n": "",
            "t": "true",
            "l": "[1]",
        }
    ]


def test_bad_json_fails_alone(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    data = b'{"a":1}\n{"a":\n[1]\n' + deep + b'\n{"a":2}\n'
    uri = write(tmp_path / "t.jsonl", data)
    assert summary(uri) == [["1"], "bad_json", "bad_json", "bad_json", ["2"]]


def test_jsonl_columns_are_those_of_all_first_rows(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.jsonl", b'{"a":1}\nnonsense\n{"b":2,"a":3}\n')
    assert read_columns(uri) == ("a", "b")


def test_plain_tsv_takes_quotes_as_they_are(tmp_path: Path) -> None:
    data = b'"a" dog\thttp://x/1\r\n"open\thttp://x/2\n\r\nonly one\n\xff\thttp://x/3\nlast\tu'
    uri = write(tmp_path / "cc3m.tsv", data)
    rows = list(read_plain_tsv(uri, ("caption", "image")))
    assert rows[0] == Row(1, {"caption": '"a" dog', "image": "http://x/1"}, {})
    assert rows[1] == Row(2, {"caption": '"open', "image": "http://x/2"}, {})
    bad = [row.reason for row in rows if isinstance(row, BadRow)]
    assert bad == ["wrong_cell_count", "not_utf8"]
    assert rows[4] == Row(5, {"caption": "last", "image": "u"}, {})


def test_gzip_is_read_and_a_cut_one_gives_what_came_before(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(150_000).hex()
    text = b"a,b\n" + b"".join(
        b"%d,%s\n" % (i, noise[i:].encode()[:60]) for i in range(5000)
    )
    whole = gzip.compress(text)
    assert len(cells(write(tmp_path / "t.csv.gz", whole))) == 5000
    rows = list(read_rows(write(tmp_path / "cut.csv.gz", whole[: len(whole) // 2])))
    assert len(rows) > 1000
    assert all(isinstance(row, Row) for row in rows[:-1])
    last = rows[-1]
    assert isinstance(last, BadRow) and last.reason == "truncated_table"
    assert last.number == len(rows)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("t.csv", b"", "empty_table"),
        ("t.jsonl", b"\n", "empty_table"),
        ("t.csv", "a,b\n".encode("utf-16"), "not_utf8"),
        ("t.csv", b'"a"b,c\n', "unreadable_table"),
        ("t.csv.gz", b"not gzip at all", "unreadable_table"),
        ("t.parquet", b"not Parquet at all", "unreadable_table"),
        ("t.xlsx", b"PK", "unknown_table_format"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_columns(write(tmp_path / name, data))
    assert caught.value.reason == reason


# --- what a table may cost -----------------------------------------------------------


def peak_bytes(read: Callable[[], object]) -> int:
    """Return the most memory that Python held at once beyond what it held before."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LONG = 8 * MAX_ROW_CHARS


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("t.csv", b"a,b\n1,x\n2,", b"\n3,y\n"),
        ("t.csv", b'a,b\n1,x\n2,"', b'"\n3,y\n'),
        ("t.jsonl", b'{"a":1,"b":"x"}\n{"a":2,"b":"', b'"}\n{"a":3,"b":"y"}\n'),
        ("t.csv.gz", b"a,b\n1,x\n2,", b"\n3,y\n"),
    ],
)
def test_a_row_that_is_too_long_fails_alone(
    tmp_path: Path, name: str, before: bytes, after: bytes
) -> None:
    data = before + b"s" * LONG + after
    if name.endswith(".gz"):
        data = gzip.compress(data)
    uri = write(tmp_path / name, data)
    found: list[object] = []
    assert peak_bytes(lambda: found.extend(summary(uri))) < 8 * MAX_ROW_CHARS
    assert found == [["1", "x"], "row_too_long", ["3", "y"]]


def test_a_line_of_a_plain_tsv_that_is_too_long_fails_alone(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.tsv", b"x\tu\n" + b"s" * LONG + b"\tu\ny\tu\n")
    rows = list(read_plain_tsv(uri, ("caption", "image")))
    assert [getattr(row, "reason", "ok") for row in rows] == [
        "ok",
        "row_too_long",
        "ok",
    ]


def test_a_cell_of_many_lines_is_one_bad_row(tmp_path: Path) -> None:
    cell = b'"' + b"x\n" * 80_000 + b'"'
    uri = write(tmp_path / "t.csv", b"a,b\n1,x\n" + cell + b",2\n3,y\n")
    assert summary(uri) == [["1", "x"], "row_too_long", ["3", "y"]]
    assert [row.number for row in read_rows(uri)] == [1, 2, 3]


def test_lines_that_swallow_each_other_are_read_in_proportion(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.csv", b"a,b\n1,x\n" + b'x","\n' * 200_000 + b"3,y\n")
    start_s = time.process_time()
    first, *others = summary(uri)
    assert first == ["1", "x"] and len(others) < 20
    assert time.process_time() - start_s < 5


def test_gzip_that_expands_without_end_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_lines, "_MAX_EXPANDED_CHARS", 1 << 18)
    data = b"a,b\n1,x\n" + b"\n" * (1 << 19)
    uri = write(tmp_path / "t.csv.gz", gzip.compress(data, 9))
    rows = list(read_rows(uri))
    assert [getattr(row, "reason", "ok") for row in rows] == ["ok", "expands_too_much"]


def test_no_message_quotes_what_is_in_a_table(tmp_path: Path) -> None:
    secret = b"hunter2"
    for name, data in (
        ("a.csv", b"a,b\n" + secret + b'\n"' + secret + b'"x\n' + secret * 300_000),
        ("b.jsonl", b'{"a":1}\n' + secret + b"\n" + secret * 300_000),
    ):
        rows = list(read_rows(write(tmp_path / name, data)))
        messages = [row.message for row in rows if isinstance(row, BadRow)]
        assert messages and not any("hunter2" in message for message in messages)


def test_parquet_cells_that_repeat_are_held_once(tmp_path: Path) -> None:
    cells_of_1_mb = pa.DictionaryArray.from_arrays(
        pa.array([0] * 2000 + [1], pa.int32()), pa.array(["x" * 1_000_000, "u"])
    )
    uri = str(tmp_path / "t.parquet")
    table = pa.table({"s": cells_of_1_mb})
    pq.write_table(table, uri, dictionary_pagesize_limit=1 << 30, store_schema=False)
    before = pa.total_allocated_bytes()
    rows = read_rows(uri)
    assert isinstance(next(rows), Row)
    assert pa.total_allocated_bytes() - before < 100e6


def test_a_parquet_cell_that_is_too_long_fails_alone(tmp_path: Path) -> None:
    uri = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"s": ["x", "s" * (MAX_ROW_CHARS + 1), "y"]}), uri)
    assert summary(uri) == [["x"], "row_too_long", ["y"]]


def test_a_parquet_of_values_without_end_is_refused(tmp_path: Path) -> None:
    uri = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"s": pa.nulls(20_000_000, pa.string())}), uri)
    with pytest.raises(InputError) as caught:
        next(read_rows(uri))
    assert caught.value.reason == "expands_too_much"


def test_missing_file_is_refused(tmp_path: Path) -> None:
    for name in ("no.csv", "no.parquet"):
        with pytest.raises(InputError) as caught:
            read_columns(str(tmp_path / name))
        assert caught.value.reason == "not_found"


def test_formats_by_extension() -> None:
    names = (
        "A.CSV",
        "a.tsv.gz",
        "a.jsonl",
        "a.ndjson",
        "a.parquet",
        "a.parquet.gz",
        "a",
    )
    formats = ["csv", "tsv", "jsonl", "jsonl", "parquet", None, None]
    assert [table_format(name) for name in names] == formats


def test_parquet_types_become_text_and_float_lists_vectors(tmp_path: Path) -> None:
    table = pa.table(
        {
            "s": pa.array(["é", None]),
            "cat": pa.array(["x", "y"]).dictionary_encode(),
            "n": pa.array([1000, None], pa.int64()),
            "f": pa.array([float("nan"), 2.0]),
            "ok": pa.array([True, False]),
            "day": pa.array([date(2020, 2, 29), None]),
            "list64": pa.array([[1.0, 2.5], None], pa.list_(pa.float64())),
            "fixed": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
        }
    ).replace_schema_metadata({"embedder": "descriptor"})
    uri = str(tmp_path / "t.parquet")
    pq.write_table(table, uri)
    first, second = read_rows(uri)
    assert isinstance(first, Row) and isinstance(second, Row)
    assert list(first.cells.values()) == ["é", "x", "1000", "", "true", "2020-02-29"]
    assert list(second.cells.values()) == ["", "y", "", "2.0", "false", ""]
    assert first.vectors == {
        "list64": np.array([1, 2.5], np.float32).tobytes(),
        "fixed": np.array([1, 2], np.float32).tobytes(),
    }
    assert second.vectors == {"fixed": np.array([3, 4], np.float32).tobytes()}
    assert read_metadata(uri)["embedder"] == "descriptor"
    only = list(read_rows(uri, only=["s"]))
    assert only == [Row(1, {"s": "é"}, {}), Row(2, {"s": ""}, {})]


def test_parquet_text_that_is_not_utf8_fails_alone(tmp_path: Path) -> None:
    raw = pa.array([b"ok", b"\xff", b"fine"], pa.binary())
    table = pa.table({"s": pa.Array.from_buffers(pa.string(), 3, raw.buffers())})
    uri = str(tmp_path / "t.parquet")
    pq.write_table(table, uri)
    assert summary(uri) == [["ok"], "not_utf8", ["fine"]]


def test_corrupt_parquet_gives_the_row_groups_before(tmp_path: Path) -> None:
    uri = str(tmp_path / "t.parquet")
    words = [f"word {i * 7919}" for i in range(4000)]
    pq.write_table(pa.table({"s": words}), uri, row_group_size=2000)
    start = pq.ParquetFile(uri).metadata.row_group(1).column(0).dictionary_page_offset
    with open(uri, "r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 2000)
    rows = list(read_rows(uri))
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > 1000 and all(isinstance(row, Row) for row in rows[:-1])
    assert isinstance(rows[-1], BadRow) and rows[-1].reason == "truncated_table"


def test_columns_are_found_by_alias_in_any_case() -> None:
    columns = ("Caption", " URL ", "path")
    assert find_column(columns, ("image", "path", "url")) == "path"
    assert find_column(columns, ("url",)) == " URL "
    assert find_column(columns, ("video",)) is None
    with pytest.raises(InputError) as caught:
        find_column(("url", "URL"), ("url",))
    assert caught.value.reason == "ambiguous_column"


def test_missing_column_lists_what_is_there() -> None:
    with pytest.raises(InputError) as caught:
        require_column("t.csv", ("foo", "bar"), "image", ("image", "path"))
    assert caught.value.reason == "missing_column"
    assert "image, path" in caught.value.message and "foo, bar" in caught.value.message


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_public_tables_are_read_whole() -> None:
    captions = cells(str(DATA / "tables" / "audiocaps_val.csv"))
    assert captions[0]["youtube_id"] == "vfY_TJq7n_U"
    assert captions[0]["caption"].startswith("Rustling occurs, ducks quack")
    for name in sorted(os.listdir(DATA / "tables")):
        uri = str(DATA / "tables" / name)
        assert len(cells(uri)) > 10
