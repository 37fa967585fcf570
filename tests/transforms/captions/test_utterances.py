"""What is said, and the clip that is cut for it."""

import pytest

from clipseed.elements import ASR, Video
from clipseed.errors import InputError
from transforms.captions.utterances import (
    ClipRule,
    Utterance,
    clip_caption,
    spoken_text,
    without_repeats,
)

S = 1_000_000
FILM = Video("v", "film.mp4", "/film.mp4")
RULE = ClipRule(4 * S, 60 * S)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("<i>Cut</i> &amp; fold", "Cut & fold"),
        ("<00:00:02.000><c> the paper</c>", "the paper"),
        ("{\\an8}- Who? >> Me.", "- Who? Me."),
        ("[Music]", ""),
        ("\u266a la la la \u266a", ""),
        ("\u266a la la", ""),
        ("(applause) thank you", "thank you"),
        ("a < b and c > a", "a < b and c > a"),
        ("&lt;b&gt; is a tag", "<b> is a tag"),
    ],
)
def test_markup_and_noises_are_no_words(line: str, words: str) -> None:
    assert spoken_text(line) == words


def test_rolling_captions_say_each_line_once() -> None:
    shown = [("a",), ("a", "b"), ("b",), ("[Music]",), ("b", "c"), ("c", "c"), ("b",)]
    rolling = [Utterance(i * S, (i + 1) * S, lines) for i, lines in enumerate(shown)]
    said = list(without_repeats(reversed(rolling)))
    assert [(u.start_us // S, u.lines) for u in said] == [
        (0, ("a",)),
        (1, ("b",)),
        (4, ("c",)),
        (6, ("b",)),
    ]


def test_what_is_said_again_after_a_pause_counts_again() -> None:
    times = ((0, 1), (1, 2), (3, 4))
    said = [Utterance(start * S, end * S, ("yes",)) for start, end in times]
    kept = without_repeats(said)
    assert [utterance.start_us // S for utterance in kept] == [0, 3]


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ((10 * S, 13 * S), (9_500_000, 13_500_000)),  # widened about its middle
        ((0, 1 * S), (0, 4 * S)),  # and moved to the start
        ((10 * S, 17 * S), (10 * S, 17 * S)),
    ],
)
def test_a_clip_is_the_utterance_but_at_least_four_seconds(
    said: tuple[int, int], part: tuple[int, int]
) -> None:
    caption = clip_caption(FILM, Utterance(*said, ("cut", "and fold"), 0.5), RULE)
    assert (caption.start_us, caption.end_us) == part
    assert (caption.caption, caption.source) == ("cut and fold", ASR)
    assert (caption.similarity, caption.time_us) == (0.5, said[0])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Utterance(5 * S, 4 * S, ("backward",)), "bad_times"),
        (Utterance(-S, 4 * S, ("before the start",)), "bad_times"),
        (Utterance(0, 36_000 * S, ("ten hours of one line",)), "too_long"),
        (Utterance(0, 4 * S, ("word " * 1000,)), "too_long"),
        (Utterance(0, 4 * S, ("mumbled",), 0.2), "low_score"),
    ],
)
def test_what_gives_no_clip_has_a_reason(said: Utterance, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        clip_caption(FILM, said, RULE._replace(min_score=0.3))
    assert caught.value.reason == reason
