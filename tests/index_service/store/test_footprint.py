"""How vectors are stored: rounding is measured, memory limits are kept."""

from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from index_service.build.build_index import IndexConfig, build_index
from index_service.search.searcher import load_index
from index_service.store import footprint, index_directory
from index_service.store.footprint import Storage

COUNT, DIMENSION = 4_000, 48
IDS = [f"{row:016x}" for row in range(COUNT)]


def clustered(count: int, seed: int) -> np.ndarray:
    centers = np.random.default_rng(0).standard_normal((200, DIMENSION))
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(0, 200, count)]
    rows = rows + rng.standard_normal(rows.shape) * 0.6
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


VECTORS = clustered(COUNT, 1)


def pairs(queries: np.ndarray, vectors: np.ndarray, threshold: float) -> set:
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    rows, columns = np.nonzero(scores > threshold)
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


def rounded(vectors: np.ndarray) -> np.ndarray:
    """To 8 significant bits, ties to even, in plain integers."""
    bits = vectors.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


@pytest.mark.parametrize("exact_below", [0, COUNT + 1])
def test_bfloat16_scores_come_from_what_is_stored(
    tmp_path: Path, exact_below: int
) -> None:
    config = IndexConfig(exact_below, sample_size=400, vectors=("bfloat16",))
    manifest = build_index(tmp_path / "i", IDS, VECTORS, "made", 0.72, None, config)
    searcher = load_index(tmp_path / "i")
    queries = clustered(100, 2)
    found = searcher.pairs_above(queries, 0.72)
    columns = zip(found.query_rows.tolist(), found.seed_rows.tolist(), strict=True)
    assert manifest.vectors == "bfloat16"
    assert (tmp_path / "i" / "vectors.npy").stat().st_size < 2.1 * VECTORS.size
    got, stored = set(columns), rounded(VECTORS)
    true = pairs(queries, stored, 0.72)
    assert got <= true and len(got) >= 0.99 * len(true) > 1_000
    scores = (queries.astype(np.float64) @ stored.T.astype(np.float64)).astype("f4")
    expected = scores[found.query_rows, found.seed_rows]
    assert np.abs(found.similarity - expected).max() <= 2**-23
    # The manifest's recall is of the float32 pairs, which rounding moves a little.
    originals = pairs(queries, VECTORS, 0.72)
    assert got != originals and manifest.audit.recall_basis != "exact"
    assert 0.98 < manifest.audit.recall < 1.0
    assert len(got & originals) >= 0.98 * len(originals)


def test_rounding_that_costs_too_much_is_refused(tmp_path: Path) -> None:
    # All seeds are at 0.603 from the query, give or take 1e-4, and bfloat16 has
    # no value between 0.6016 and 0.6055.
    rng = np.random.default_rng(3)
    query = np.zeros((1, DIMENSION), np.float32)
    query[0, 0] = 1.0
    rest = rng.standard_normal((COUNT, DIMENSION - 1))
    cosine = 0.603 + rng.uniform(-1e-4, 1e-4, (COUNT, 1))
    rest *= np.sqrt(1 - cosine**2) / np.linalg.norm(rest, axis=1, keepdims=True)
    seeds = np.concatenate([cosine, rest], axis=1).astype(np.float32)
    queries = np.repeat(query, 400, axis=0)
    config = IndexConfig(vectors=("bfloat16",))
    with pytest.raises(InputError) as caught:
        build_index(tmp_path / "i", IDS, seeds, "made", 0.603, queries, config)
    assert caught.value.reason == "recall_out_of_reach"
    either = IndexConfig(vectors=("float32", "bfloat16"))
    manifest = build_index(tmp_path / "i", IDS, seeds, "made", 0.603, queries, either)
    assert manifest.vectors == "float32"


def test_the_best_way_that_fits_is_taken(tmp_path: Path) -> None:
    # Bytes a value: ScaNN 4 + 2.5, 2 + 2.5, 4 + 0.5 and 2 + 0.5; exact 4 and 2.
    both = ("float32", "bfloat16")
    table = footprint.memory_bytes(IDS, 0, Storage("float32", None), 0)
    chosen = []
    for bytes_a_value in (7.0, 4.7, 4.2, 2.7, 2.2):
        config = IndexConfig(
            exact_below=0,
            sample_size=400,
            vectors=both,
            memory_limit_bytes=table + int(VECTORS.size * bytes_a_value),
        )
        directory = tmp_path / str(bytes_a_value)
        manifest = build_index(directory, IDS, VECTORS, "made", 0.6, None, config)
        reorder = manifest.settings.reorder if manifest.settings else None
        chosen.append((manifest.vectors, reorder))
        assert manifest.memory_bytes <= config.memory_limit_bytes
        found = load_index(directory).pairs_above(VECTORS[:200], 0.6)
        assert len(found.similarity) >= 0.97 * len(pairs(VECTORS[:200], VECTORS, 0.6))
        assert has_copy(directory) == (reorder == "bfloat16")
    assert chosen == [
        ("float32", "bfloat16"),
        ("bfloat16", "bfloat16"),
        ("bfloat16", "none"),
        ("bfloat16", "none"),
        ("bfloat16", None),
    ]


def has_copy(directory: Path) -> bool:
    return (directory / index_directory.SCANN / "bfloat16_dataset.npy").exists()


def test_what_fits_nowhere_is_refused(tmp_path: Path) -> None:
    config = IndexConfig(memory_limit_bytes=100_000, vectors=("float32", "bfloat16"))
    with pytest.raises(InputError, match="raise it") as caught:
        build_index(tmp_path / "i", IDS, VECTORS, "made", 0.6, None, config)
    assert caught.value.reason == "memory_limit"


@pytest.mark.parametrize("leaves", [0, 64])
def test_the_estimate_covers_the_files(tmp_path: Path, leaves: int) -> None:
    config = IndexConfig(exact_below=0, tree_from=COUNT - leaves, sample_size=400)
    manifest = build_index(tmp_path / "i", IDS, VECTORS, "made", 0.6, None, config)
    held = sum(
        entry.size_bytes
        for entry in manifest.files
        if entry.path != index_directory.IDS
    )
    table = footprint.memory_bytes(IDS, 0, Storage("float32", None), 0)
    # The codes of a tree take a byte per block in the files, and half in memory.
    codes = COUNT * DIMENSION // 2 if leaves else 0
    assert manifest.memory_bytes == pytest.approx(held - codes + table, rel=0.1)


def test_a_handful_of_seeds_is_stored_as_it_is(tmp_path: Path) -> None:
    config = IndexConfig(vectors=("bfloat16",))
    ids, rows = IDS[:5], VECTORS[:5]
    manifest = build_index(tmp_path / "i", ids, rows, "made", 0.6, None, config)
    assert manifest.vectors == "float32" and manifest.audit.recall == 1.0
