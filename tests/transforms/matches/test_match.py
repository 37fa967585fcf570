"""Frames against an index: every pair above a similarity, with its seed and time."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import EmbeddedChunk, Match, Video
from index_service.build.build_index import IndexConfig, build_index
from index_service.search.searcher import load_index
from transforms.matches.match import MatchFrames, audit_chunk, match_chunk

FILM = Video("film", "film.mp4", "/film.mp4")
IDS = ["along x", "along y", "between"]
SEEDS = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
FRAMES = np.array([[1, 0], [0.8, 0.6], [-1, 0]], np.float32)
CHUNK = EmbeddedChunk(FILM, (0, 1_000_000, 2_000_000), FRAMES)


@pytest.fixture(scope="module")
def index_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("index") / "exact"
    build_index(directory, IDS, SEEDS, "made", 0.6, None, IndexConfig())
    return str(directory)


def similarity(frame: int, seed: int) -> float:
    return float(FRAMES[frame] @ SEEDS[seed])


MATCHES = [
    Match("along x", 1.0, FILM, 0),
    Match("between", similarity(0, 2), FILM, 0),
    Match("along x", similarity(1, 0), FILM, 1_000_000),
    Match("along y", similarity(1, 1), FILM, 1_000_000),
    Match("between", similarity(1, 2), FILM, 1_000_000),
]


def test_each_pair_above_the_floor_is_a_match(index_dir: str) -> None:
    found = list(match_chunk(CHUNK, load_index(Path(index_dir)), 0.5))
    assert found == MATCHES
    assert all(type(match.similarity) is float for match in found)


def test_the_floor_itself_is_no_match(index_dir: str) -> None:
    searcher = load_index(Path(index_dir))
    min_similarity = similarity(1, 0)
    above = [match for match in MATCHES if match.similarity > min_similarity]
    assert len(above) == 2
    assert list(match_chunk(CHUNK, searcher, min_similarity)) == above


def test_an_exact_index_is_not_audited(index_dir: str) -> None:
    searcher = load_index(Path(index_dir))
    chunks = (CHUNK._replace(keys=(key, 1, 2)) for key in range(1000))
    assert {audit_chunk(chunk, searcher, 0.5) for chunk in chunks} == {(0, 0)}


class _Forgetful:
    """A searcher that loses the last pair, as an approximate index may."""

    def __init__(self, index_dir: str) -> None:
        self._exact = load_index(Path(index_dir))
        self.manifest = type("Manifest", (), {"kind": "scann"})
        self.ids = self._exact.ids

    def pairs_above(self, queries: np.ndarray, threshold: float) -> Any:
        pairs = self.exact_pairs_above(queries, threshold)
        return type(pairs)(*(column[:-1] for column in pairs))

    def exact_pairs_above(self, queries: np.ndarray, threshold: float) -> Any:
        return self._exact.exact_pairs_above(queries, threshold)


def test_one_chunk_in_fifty_is_audited(index_dir: str) -> None:
    searcher: Any = _Forgetful(index_dir)
    chunks = [CHUNK._replace(keys=(key, 1, 2)) for key in range(1000)]
    audits = [audit_chunk(chunk, searcher, 0.5) for chunk in chunks]
    assert set(audits) == {(0, 0), (4, 5)}
    assert 10 <= audits.count((4, 5)) <= 40
    assert audits == [audit_chunk(chunk, searcher, 0.5) for chunk in chunks]


@pytest.mark.parametrize("has_seeds", [True, False])
def test_in_a_pipeline_the_index_comes_by_its_directory(
    index_dir: str, has_seeds: bool
) -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        directory = pipeline | "Index" >> beam.Create([index_dir if has_seeds else ""])
        index = beam.pvalue.AsSingleton(directory)
        found = pipeline | beam.Create([CHUNK]) | MatchFrames(index, 0.5)
        assert_that(found.matches, equal_to(MATCHES if has_seeds else []))
        assert_that(found.audit, equal_to([]), label="audit")
