"""What the index builder refuses, and how it tunes."""

from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from index_service.build.audit import MIN_PAIRS, draw_sample
from index_service.build.build_index import IndexConfig, build_index, name_build
from index_service.build.tune import Goal, cost, grid, tune
from index_service.search.scann_index import ScannIndex
from index_service.search.searcher import load_index

FLAT = IndexConfig(exact_below=100, sample_size=400)


def unit_rows(count: int, dimension: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def spoiled(row: int, value: float) -> np.ndarray:
    rows = unit_rows(20, 8)
    rows[row] *= np.float32(value)
    return rows


IDS = [f"id{row:02d}" for row in range(20)]


@pytest.mark.parametrize(
    ("ids", "embeddings", "reason", "words"),
    [
        (IDS, spoiled(7, np.nan), "not_finite", "'id07' (row 7)"),
        (IDS, spoiled(3, np.inf), "not_finite", "'id03'"),
        (IDS, spoiled(5, 0.0), "zero_norm", "'id05'"),
        (IDS, spoiled(9, 1.01), "not_unit_norm", "'id09'"),
        (IDS, unit_rows(20, 8).astype(np.float64), "wrong_dtype", "float64"),
        (IDS, unit_rows(20, 8)[0], "wrong_shape", "[8]"),
        (IDS, unit_rows(19, 8), "wrong_shape", "19"),
        ([*IDS[:-1], "id04"], unit_rows(20, 8), "duplicate_id", "'id04'"),
        ([*IDS[:-1], "a\nb"], unit_rows(20, 8), "bad_id", "'a\\nb'"),
        ([], unit_rows(20, 8)[:0], "empty_index", "no seed"),
    ],
)
def test_bad_seeds_are_refused(
    tmp_path: Path, ids: list[str], embeddings: np.ndarray, reason: str, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        build_index(tmp_path / "i", ids, embeddings, "made", 0.6, None, FLAT)
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert not (tmp_path / "i").exists()


def test_an_index_is_never_overwritten_but_a_torn_build_is(tmp_path: Path) -> None:
    def build() -> None:
        build_index(tmp_path / "i", IDS, unit_rows(20, 8), "made", 0.6, None, FLAT)

    build()
    with pytest.raises(InputError) as caught:
        build()
    assert caught.value.reason == "index_exists"
    (tmp_path / "i" / "manifest.json").unlink()
    build()
    assert load_index(tmp_path / "i").ids == IDS
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("keep me")
    with pytest.raises(InputError) as caught:
        build_index(tmp_path / "other", IDS, unit_rows(20, 8), "made", 0.6, None, FLAT)
    assert caught.value.reason == "not_empty"
    assert (tmp_path / "other" / "thesis.txt").read_text() == "keep me"


def test_a_build_has_the_same_name_in_every_version_and_order() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert name_build(["b", "a", "ü"], vectors, "rgb4") == "841fef5e0dd8ef67"
    assert name_build(["a", "b", "ü"], vectors[[1, 0, 2]], "rgb4") == "841fef5e0dd8ef67"


def test_without_pairs_the_nearest_ten_are_the_basis(tmp_path: Path) -> None:
    manifest = build_index(
        tmp_path / "i",
        [f"id{row:04d}" for row in range(2_000)],
        unit_rows(2_000, 32),
        "made",
        0.99,
        unit_rows(400, 32, seed=1),
        FLAT,
    )
    assert manifest.audit.recall_basis == "top_10"
    assert manifest.audit.recall >= 0.99
    assert {r.source: r.pairs for r in manifest.audit.held_out} == {
        "queries": 2_000,
        "seeds": 2_000,
    }


def test_a_seed_does_not_count_as_its_own_pair() -> None:
    vectors = unit_rows(1_000, 16)
    vectors[500:] = vectors[:500]  # every seed has one twin, nothing else is near
    sample = draw_sample(vectors, None, 0.999, 1_000)
    assert sample.basis == "pairs_above_threshold"
    assert [p.pairs for p in sample.tuning + sample.held_out] == [500, 500]
    assert draw_sample(vectors, None, 0.999, 2 * MIN_PAIRS - 2).basis == "top_10"


def test_halves_are_disjoint_and_contiguous() -> None:
    queries = unit_rows(300, 8, seed=2)
    sample = draw_sample(unit_rows(500, 8), queries, 0.2, 200)
    first, second = (
        {row.tobytes() for row in half[0].queries}
        for half in (sample.tuning, sample.held_out)
    )
    assert len(first) == len(second) == 100 and not first & second
    assert {row.tobytes() for row in queries[:150]} >= first


def test_settings_are_tried_cheapest_first() -> None:
    options = grid(100_000, 128, 316)
    costs = [cost(100_000, 128, option) for option in options]
    assert costs == sorted(costs) and len(set(options)) == len(options)
    assert {option.leaves_to_search for option in grid(50_000, 128, 0)} == {0}


def test_the_cheapest_sufficient_setting_wins() -> None:
    vectors = unit_rows(4_000, 24)
    index = ScannIndex.train(vectors, leaves=64)
    sample = draw_sample(vectors, None, 0.5, 400)
    rough, _ = tune(index, vectors, sample, Goal(0.5, 0.5, 0.0))
    fine, audit = tune(index, vectors, sample, Goal(0.5, 0.99, 0.002))
    assert rough is not None and fine is not None
    assert cost(4_000, 24, rough) < cost(4_000, 24, fine)
    assert audit.recall >= 0.99
    assert audit.trials[-1].settings == fine
    for trial in audit.trials[:-1]:
        dearer = cost(4_000, 24, trial.settings) > cost(4_000, 24, fine)
        met = trial.recall >= 0.992 and (trial.recall_held_out or 0) >= 0.99
        assert dearer or not met


def test_a_goal_out_of_reach_means_exact_search(tmp_path: Path) -> None:
    # No index finds more than all, so every setting fails.
    rows = unit_rows(2_000, 32)
    config = IndexConfig(exact_below=100, target_recall=1.01, sample_size=100)
    ids = [f"id{row:04d}" for row in range(2_000)]
    manifest = build_index(tmp_path / "i", ids, rows, "made", 0.9, None, config)
    assert manifest.kind == "exact" and manifest.settings is None
    assert manifest.audit.recall_basis == "exact"
    tried = [(t.settings.block_dims, t.settings.depth) for t in manifest.audit.trials]
    assert tried == [(4, 1024), (2, 1024)]  # coarse codes, then fine ones
    assert not (tmp_path / "i" / "scann").exists()
    found = load_index(tmp_path / "i").pairs_above(rows[:50], 0.9)
    assert found.seed_rows.tolist() == list(range(50))
