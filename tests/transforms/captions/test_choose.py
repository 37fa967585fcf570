import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from clipseed.elements import PSEUDOLABEL, ClipCaption, Video
from transforms.captions.choose import (
    ChoiceReport,
    ChoiceRule,
    ChooseCaptions,
    agreement,
    choose,
)
from transforms.captions.frame_captions import FrameCaption

FILM = Video("v", "film.mp4", "/films/film.mp4")
S = 1_000_000
READ = [
    FrameCaption(FILM, 11 * S, "a dog runs on the grass", 0.5),
    FrameCaption(FILM, 12 * S, "A dog runs on the grass.", 0.6),
    FrameCaption(FILM, 13 * S, "a dog on the grass", 0.4),
    FrameCaption(FILM, 14 * S, "two men in a boat", 0.9),
    FrameCaption(FILM, 15 * S, "a cat", 0.1),
]


def texts(rule: ChoiceRule) -> tuple[list[str], ChoiceReport]:
    chosen, report = choose(READ, rule)
    return [caption.caption for caption in chosen], report


def test_the_likeliest_is_chosen_and_what_says_the_same_counts_once() -> None:
    rule = ChoiceRule(10 * S, captions=2, min_score=0.2)
    assert texts(rule) == (
        ["two men in a boat", "A dog runs on the grass."],
        ChoiceReport(5, 2, 1, 2, 0),
    )
    assert texts(rule._replace(captions=1, min_score=0.95)) == (
        [],
        ChoiceReport(5, 0, 5, 0, 0),
    )


def test_consensus_chooses_what_agrees_with_the_others() -> None:
    chosen, report = texts(ChoiceRule(10 * S, "consensus"))
    assert chosen == ["A dog runs on the grass."]
    assert report == ChoiceReport(5, 1, 0, 2, 2)


def test_a_caption_is_of_its_clip() -> None:
    (chosen, other), _ = choose(reversed(READ[2:4]), ChoiceRule(10 * S, captions=3))
    assert chosen == ClipCaption(
        "", "", "two men in a boat", 1, 0.9, 14 * S, FILM, PSEUDOLABEL, 10 * S, 20 * S
    )
    assert (other.rank, other.similarity) == (2, 0.4)


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("a dog runs", "A dog sits.", 2 / 3),
        ("a a", "a", 2 / 3),
        ("dog", "", 0.0),
        ("", "", 1.0),
        ("!", "?", 0.0),
    ],
)
def test_agreement_is_the_share_of_common_words(
    one: str, other: str, share: float
) -> None:
    assert agreement(one, other) == agreement(other, one) == pytest.approx(share)


def test_each_clip_chooses_for_itself() -> None:
    late = FrameCaption(FILM, 20 * S, "a cat", 0.1)
    other = late._replace(video=Video("w", "other.mp4", "/films/other.mp4"))
    with TestPipeline() as pipeline:
        chosen = (
            pipeline
            | beam.Create([*READ, late, other]).with_output_types(FrameCaption)
            | ChooseCaptions(ChoiceRule(10 * S))
        )
        places = chosen.captions | beam.Map(
            lambda c: (c.video.video_id, c.start_us, c.caption)
        )
        wanted = [("v", 10 * S, "two men in a boat"), ("v", 20 * S, "a cat")]
        assert_that(places, equal_to([*wanted, ("w", 20 * S, "a cat")]))
        reports = [ChoiceReport(5, 1, 0, 2, 2), *[ChoiceReport(1, 1, 0, 0, 0)] * 2]
        assert_that(chosen.reports, equal_to(reports), label="reports")
