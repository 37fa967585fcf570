"""Which match is captioned how."""

from typing import Any

from clipseed.elements import ClipCaption, Match, Video
from transforms.matches.pairs import caption_matches, captions_of_clip

A, B = Video("a", "a.mp4", "/a.mp4"), Video("b", "b.mp4", "/b.mp4")


def selected(
    seed_id: str, similarity: float, time_us: int, **other: Any
) -> ClipCaption:
    row = ClipCaption(seed_id, f"{seed_id}.png", "c", 1, similarity, time_us, A)
    return row._replace(**other)


def test_each_match_is_selected_with_each_caption() -> None:
    best = [Match("s", 0.9, A, 5), Match("s", 0.8, B, 3)]
    captions = [("b.png", "two"), ("a.png", "one"), ("c.png", "one")]
    assert list(caption_matches("s", captions, [best])) == [
        ClipCaption("s", "a.png", "one", 1, 0.9, 5, A),
        ClipCaption("s", "b.png", "two", 1, 0.9, 5, A),
        ClipCaption("s", "a.png", "one", 2, 0.8, 3, B),
        ClipCaption("s", "b.png", "two", 2, 0.8, 3, B),
    ]


def test_a_seed_without_a_match_selects_nothing() -> None:
    assert list(caption_matches("s", [("a.png", "one")], [])) == []


def test_a_caption_stands_on_a_clip_once_by_its_best_seed() -> None:
    rows = [
        selected("s", 0.7, 1),
        selected("t", 0.9, 2),
        selected("r", 0.8, 3, caption="d"),
        selected("r", 0.9, 2),  # as similar: the id decides
        selected("r", 0.9, 1),  # then the time
    ]
    best = [rows[4], rows[2]]
    assert captions_of_clip(rows) == captions_of_clip(rows[::-1]) == best
