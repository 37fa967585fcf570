"""Which pairs of the demo are right."""

import csv
from pathlib import Path

import pytest

from beam_pipeline.demo.truth import Truth, Verdict, check_pairs
from clipseed.errors import InputError

TRUTH = [
    Truth("seeds/a.jpg", 'a "red" ball, rolling', "videos/a.mp4", 0, 9_000_000),
    Truth("seeds/b.jpg", "a blue kite", "videos/b.mp4", 9_000_000, 19_000_000),
]
RIGHT = [
    ("videos/a.mp4", 1_000_000, 11_000_000, 'a "red" ball, rolling'),
    ("videos/b.mp4", 18_000_000, 28_000_000, "a blue kite"),
]


def write_pairs(path: Path, rows: list[tuple]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return path


@pytest.mark.parametrize("header", [[], [("video", "start", "end", "caption")]])
def test_right_pairs_are_found(tmp_path: Path, header: list[tuple]) -> None:
    verdict = check_pairs(write_pairs(tmp_path / "pairs.csv", header + RIGHT), TRUTH)
    assert verdict == Verdict(2, 2, [], [])
    assert verdict.ok


@pytest.mark.parametrize(
    "row",
    [
        ("videos/a.mp4", 9_000_000, 19_000_000, "a blue kite"),  # another video
        ("videos/b.mp4", 0, 9_000_000, "a blue kite"),  # before the scene
        ("videos/b.mp4", 19_000_000, 29_000_000, "a blue kite"),  # after it
    ],
)
def test_a_pair_elsewhere_finds_nothing(tmp_path: Path, row: tuple) -> None:
    verdict = check_pairs(write_pairs(tmp_path / "p.csv", [RIGHT[0], row]), TRUTH)
    assert verdict == Verdict(1, 2, [], [row])
    assert not verdict.ok
    beside = check_pairs(write_pairs(tmp_path / "q.csv", [*RIGHT, row]), TRUTH)
    assert beside.elsewhere == [row]
    assert beside.ok


def test_a_caption_of_no_scene_is_wrong(tmp_path: Path) -> None:
    row = ("videos/a.mp4", 0, 10_000_000, "a green robot")
    verdict = check_pairs(write_pairs(tmp_path / "p.csv", [*RIGHT, row]), TRUTH)
    assert verdict == Verdict(2, 2, [row], [])
    assert not verdict.ok


def test_no_pairs_find_nothing(tmp_path: Path) -> None:
    verdict = check_pairs(write_pairs(tmp_path / "p.csv", []), TRUTH)
    assert (verdict.found, verdict.expected, verdict.ok) == (0, 2, False)


@pytest.mark.parametrize("row", [("a.mp4", 1, 2), ("a.mp4", "soon", 2, "x")])
def test_a_row_of_another_layout_is_refused(tmp_path: Path, row: tuple) -> None:
    with pytest.raises(InputError, match="row 3: ") as caught:
        check_pairs(write_pairs(tmp_path / "p.csv", [*RIGHT, row]), TRUTH)
    assert caught.value.reason == "bad_pairs_row"
