"""A seed's captions meet its best matches."""

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import ClipCaption, Match, Seed, Video
from transforms.matches.join_captions import JoinCaptions

FILM = Video("v", "film.mp4", "/film.mp4")
BEST, NEXT = Match("s", 0.9, FILM, 5), Match("s", 0.8, FILM, 3)
SEEDS = [
    Seed("s", "copy.png", "a cat"),  # the same image and caption again
    Seed("s", "a.png", "a cat"),
    Seed("s", "a.png", "a sleeping cat"),
    Seed("without a match", "b.png", "nothing"),
]


def test_each_match_gets_each_caption_once() -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        seeds = pipeline | "Seeds" >> beam.Create(SEEDS)
        alone = ("only in the index", [Match("only in the index", 0.7, FILM, 1)])
        best = pipeline | "Best" >> beam.Create([("s", [BEST, NEXT]), alone])
        joined = best | JoinCaptions(seeds)
        wanted = [
            ClipCaption("s", "a.png", "a cat", 1, 0.9, 5, FILM),
            ClipCaption("s", "a.png", "a sleeping cat", 1, 0.9, 5, FILM),
            ClipCaption("s", "a.png", "a cat", 2, 0.8, 3, FILM),
            ClipCaption("s", "a.png", "a sleeping cat", 2, 0.8, 3, FILM),
        ]
        assert_that(joined.matches, equal_to(wanted), "selected")
        assert_that(
            joined.uncaptioned, equal_to(["only in the index"]), "without a caption"
        )
