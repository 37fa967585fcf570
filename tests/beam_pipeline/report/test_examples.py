"""Which pairs of a run are shown."""

import pytest

from beam_pipeline.report import examples
from beam_pipeline.report.examples import choose, clock, survey
from clipseed.elements import Pair


def pair(seed: str, similarity: float) -> Pair:
    clip, image = f"{seed}{similarity}", f"{seed}.png"
    return Pair("a.mp4", 0, 10, "a cat", clip, "a", seed, image, 1, similarity, 5, "ok")


PAIRS = [
    pair(seed, similarity)
    for seed, similarities in {
        "a": (0.99, 0.98, 0.97, 0.61),
        "b": (0.90, 0.62, 0.60),
        "c": (0.80, 0.79),
    }.items()
    for similarity in similarities
]


@pytest.mark.parametrize(
    ("count", "similarities"),
    [
        (1, [0.99]),
        (2, [0.99, 0.60]),
        (4, [0.99, 0.90, 0.61, 0.60]),
        (5, [0.99, 0.90, 0.80, 0.61, 0.60]),
        (7, [0.99, 0.90, 0.80, 0.79, 0.62, 0.61, 0.60]),
        (20, sorted((p.similarity for p in PAIRS), reverse=True)),
    ],
)
def test_examples_are_the_best_and_the_weakest_of_many_seeds(
    count: int, similarities: list[float]
) -> None:
    chosen = choose(PAIRS, count)
    assert [pair.similarity for pair in chosen] == similarities
    assert choose(PAIRS[::-1], count) == chosen


@pytest.mark.parametrize("size", [1, 4, 9, 4096])
def test_a_survey_sees_all_batches(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_BATCH", size)
    first, chosen = survey(iter(PAIRS), 4)
    assert first == PAIRS
    assert chosen == choose(PAIRS, 4)
    first, _ = survey([*PAIRS, *PAIRS], 4)
    assert first == [*PAIRS, PAIRS[0]]


@pytest.mark.parametrize(
    ("time_us", "text"),
    [(0, "0:00.0"), (59_960_000, "1:00.0"), (61_500_000, "1:01.5"),
     (3_599_900_000, "59:59.9")],
)  # fmt: skip
def test_clock(time_us: int, text: str) -> None:
    assert clock(time_us) == text
