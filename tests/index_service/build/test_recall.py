"""Recall on real embeddings and on a large set, judged by a search written here."""

from pathlib import Path

import numpy as np
import pytest

from index_service.build.audit import PAIRS_BASIS
from index_service.build.build_index import IndexConfig, build_index
from index_service.search.searcher import Searcher, load_index
from models.embedders.descriptor import DEFAULT_THRESHOLD, EMBEDDER_ID, describe
from models.pretrained.resizing import squeeze
from tests.support.paths import DATA
from transforms.media.images import ImageLimits, decode_image, resize_for_embedding
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames


def pairs_by_blocks(
    queries: np.ndarray, vectors: np.ndarray, threshold: float
) -> set[tuple[int, int]]:
    """Find every pair above the threshold in float64, one query at a time."""
    found = set()
    for row, query in enumerate(queries.astype(np.float64)):
        for start in range(0, len(vectors), 50_000):
            block = vectors[start : start + 50_000]
            above = np.flatnonzero((block @ query).astype(np.float32) > threshold)
            found.update((row, start + int(column)) for column in above)
    return found


def share_found(
    searcher: Searcher, queries: np.ndarray, truth: set[tuple[int, int]], t: float
) -> float:
    found = searcher.pairs_above(queries, t)
    pairs = set(zip(found.query_rows.tolist(), found.seed_rows.tolist(), strict=True))
    assert pairs <= truth
    return len(pairs) / len(truth)


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize("threshold", [DEFAULT_THRESHOLD, 0.9])
def test_recall_on_real_images_and_frames(
    real: tuple[np.ndarray, np.ndarray], tmp_path: Path, threshold: float
) -> None:
    """Seeds are images and frames, searched for by frames in between."""
    seeds, frames = real
    config = IndexConfig(exact_below=0, tree_from=0, sample_size=1_000)
    ids = [f"{row:06d}" for row in range(len(seeds))]
    directory = tmp_path / "index"
    known, unseen = frames[::2], frames[1::2]
    manifest = build_index(directory, ids, seeds, EMBEDDER_ID, threshold, known, config)
    truth = pairs_by_blocks(unseen, seeds, threshold)
    assert manifest.kind == "scann" and manifest.audit.recall_basis == PAIRS_BASIS
    assert manifest.audit.recall >= 0.99
    assert len(truth) > 1_000
    assert share_found(load_index(directory), unseen, truth, threshold) >= 0.99


@pytest.fixture(scope="module")
def real() -> tuple[np.ndarray, np.ndarray]:
    """Embed images with every second frame of the videos, and the frames between."""
    images = [
        resize_for_embedding(decode_image(path.read_bytes(), ImageLimits()), 224)
        for path in sorted((DATA / "images").iterdir())
    ]
    config = SamplingConfig(3.0, "exact", squeeze(224), 120.0, 600.0)
    frames = [
        describe(item.image[None])
        for path in sorted((DATA / "videos").iterdir())
        for item in extract_frames(str(path), 0, 2**62, config)
        if isinstance(item, Frame)
    ]
    seeds = [describe(np.stack(images)), *frames[::2]]
    return np.concatenate(seeds), np.concatenate(frames[1::2])


@pytest.mark.ci_only
@pytest.mark.measures
def test_recall_on_250k_clustered_vectors(tmp_path: Path) -> None:
    count, dimension, threshold = 250_000, 128, 0.6
    centers = np.random.default_rng(0).standard_normal((count // 20, dimension))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)

    def around(rows: int, seed: int, spread: float) -> np.ndarray:
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((rows, dimension)) * spread / np.sqrt(dimension)
        made = centers[rng.integers(0, len(centers), rows)] + noise
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    seeds = around(count, 1, 0.7)
    ids = [f"{row:06d}" for row in range(count)]
    manifest = build_index(
        tmp_path / "index",
        ids,
        seeds,
        "made",
        threshold,
        around(1_000, 2, 0.5),
        IndexConfig(),
    )
    assert manifest.kind == "scann" and manifest.audit.recall >= 0.99
    searcher = load_index(tmp_path / "index")
    for seed, spread in ((3, 0.5), (4, 0.7)):  # frames, and what is like the seeds
        queries = around(400, seed, spread)
        truth = pairs_by_blocks(queries, seeds, threshold)
        assert len(truth) > 4_000
        assert share_found(searcher, queries, truth, threshold) >= 0.99
