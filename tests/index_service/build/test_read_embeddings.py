"""Embeddings from Parquet and npy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipseed.errors import InputError
from index_service.build.read_embeddings import (
    Embeddings,
    read_embeddings,
    read_seed_embeddings,
)

ROWS = np.random.default_rng(0).standard_normal((40, 6))
UNIT = (ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)).astype(np.float32)
IDS = [f"s{row}" for row in range(40)]


def write(
    path: Path, rows: np.ndarray, embedder: str | None = None, **names: Any
) -> str:
    kind = pa.list_(pa.from_numpy_dtype(rows.dtype))
    table = pa.table(
        {
            names.get("key", "id"): names.get("ids", IDS[: len(rows)]),
            names.get("embedding", "embedding"): pa.array(list(rows), kind),
        }
    )
    metadata = {"embedder": embedder} if embedder else {}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=16)
    return str(path)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_parquet_of_any_float(tmp_path: Path, kind: type) -> None:
    read = read_embeddings(write(tmp_path / "a.parquet", UNIT.astype(kind), "made"))
    assert read.ids == IDS and read.embedder == "made"
    assert read.vectors.dtype == np.float32
    expected = UNIT.astype(kind).astype(np.float32)
    assert np.array_equal(read.vectors, expected)


def test_fixed_size_lists_and_other_names(tmp_path: Path) -> None:
    table = pa.table(
        {
            "caption": ["c"] * 40,
            "seed_id": IDS,
            "vector": pa.FixedSizeListArray.from_arrays(UNIT.ravel(), 6),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    read = read_embeddings(str(tmp_path / "a.parquet"))
    assert read.ids == IDS and read.embedder is None
    assert np.array_equal(read.vectors, UNIT)


def test_rows_are_scaled_and_what_cannot_be_stays(tmp_path: Path) -> None:
    rows = (ROWS * 7).astype(np.float32)
    rows[3], rows[5, 1] = 0.0, np.nan
    np.save(tmp_path / "a.npy", rows)
    read = read_embeddings(str(tmp_path / "a.npy"))
    good = [row for row in range(40) if row not in (3, 5)]
    assert np.allclose(read.vectors[good], UNIT[good], atol=1e-6)
    assert not read.vectors[3].any() and np.isnan(read.vectors[5, 1])
    assert read.ids == []


def test_a_folder_of_files_is_one_source(tmp_path: Path, root: str) -> None:
    from clipseed.io.storage import publish

    for part in (0, 1):
        path = write(tmp_path / f"x{part}.parquet", UNIT[part::2], ids=IDS[part::2])
        publish(path, f"{root}/parts/{part}.parquet")
    read = read_embeddings(f"{root}/parts")
    assert read.ids == IDS[0::2] + IDS[1::2]
    assert np.array_equal(read.vectors, np.concatenate([UNIT[0::2], UNIT[1::2]]))


def test_ids_of_npy_come_from_lines(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", UNIT)
    (tmp_path / "ids.txt").write_text("".join(f"{i}\n" for i in IDS))
    read = read_embeddings(str(tmp_path / "a.npy"), str(tmp_path / "ids.txt"))
    assert read.ids == IDS


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    def refusal(name: str) -> tuple[str, str]:
        with pytest.raises(InputError) as caught:
            read_embeddings(str(tmp_path / name))
        return caught.value.reason, caught.value.message

    np.save(tmp_path / "flat.npy", UNIT[0])
    np.save(tmp_path / "whole.npy", UNIT)
    np.save(tmp_path / "ints.npy", np.ones((3, 3), int))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "torn.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-9])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "notes.txt").write_text("hello")
    write(tmp_path / "named.parquet", UNIT, embedding="features")
    pq.write_table(pa.table({"embedding": [[0.5], [0.5, 0.5]]}), tmp_path / "r.parquet")
    assert refusal("flat.npy")[0] == "wrong_shape"
    assert refusal("ints.npy")[0] == "wrong_dtype"
    for torn in ("objects.npy", "torn.npy", "torn.parquet"):
        reason, message = refusal(torn)
        assert reason == "unreadable" and torn in message
    assert refusal("notes.txt")[0] == "unknown_format"
    assert refusal("nowhere.npy")[0] == "not_found"
    reason, message = refusal("named.parquet")
    assert reason == "missing_column" and "features" in message
    assert refusal("r.parquet")[0] == "wrong_shape"


def test_files_must_agree(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", UNIT, "one")
    write(tmp_path / "b.parquet", UNIT, "two")
    with pytest.raises(InputError, match=r"one.*two"):
        read_embeddings(str(tmp_path))
    write(tmp_path / "b.parquet", UNIT[:, :5], "one")
    with pytest.raises(InputError, match="differ in dimension"):
        read_embeddings(str(tmp_path))


@pytest.mark.parametrize(
    ("stored", "given", "dimension", "said"),
    [
        (None, None, None, "no_embedder"),
        ("a@1", "b@1", None, "embedder_mismatch"),
        ("a@1", None, 3, "embedder_mismatch"),
        ("a@1", None, 2, "a@1"),
        (None, "b@1", None, "b@1"),
        ("a@1", "a@1", None, "a@1"),
    ],
)
def test_all_who_name_the_embedder_must_agree(
    stored: str | None, given: str | None, dimension: int | None, said: str
) -> None:
    source = Embeddings(["x"], np.eye(1, 2, dtype=np.float32), stored)
    try:
        assert source.made_by([given], dimension) == said
    except InputError as error:
        assert error.reason == said


def test_seeds_without_ids_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(2, dtype=np.float32))
    with pytest.raises(InputError) as caught:
        read_seed_embeddings(str(tmp_path / "a.npy"))
    assert caught.value.reason == "missing_ids"
