"""Which pairs of a run are shown."""

import pytest

from beam_pipeline.report.examples import choose, clock, survey


def pair(seed: str, similarity: float) -> dict:
    clip = f"{seed}{similarity}"
    return {
        "seed_id": seed,
        "similarity": similarity,
        "clip_id": clip,
        "caption": "a cat",
    }


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
        (20, sorted((p["similarity"] for p in PAIRS), reverse=True)),
    ],
)
def test_examples_are_the_best_and_the_weakest_of_many_seeds(
    count: int, similarities: list[float]
) -> None:
    chosen = choose(PAIRS, count)
    assert [row["similarity"] for row in chosen] == similarities
    assert choose(PAIRS[::-1], count) == chosen


def test_a_survey_sees_all_batches() -> None:
    batches = [PAIRS[:4], [], PAIRS[4:]]
    first, chosen = survey(batches, 4)
    assert first == PAIRS
    assert chosen == choose(PAIRS, 4)
    first, _ = survey([PAIRS, PAIRS], 4)
    assert first == [*PAIRS, PAIRS[0]]


@pytest.mark.parametrize(
    ("time_us", "text"),
    [(0, "0:00.0"), (59_960_000, "1:00.0"), (61_500_000, "1:01.5"),
     (3_599_900_000, "59:59.9")],
)  # fmt: skip
def test_clock(time_us: int, text: str) -> None:
    assert clock(time_us) == text
