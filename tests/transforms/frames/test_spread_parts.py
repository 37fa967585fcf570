from collections import Counter

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import Video, VideoPart
from transforms.frames.spread_parts import SpreadParts, stretch


def parts(uri: str, minutes: int) -> list[VideoPart]:
    """Return parts of two minutes, the last one open-ended."""
    video = Video(f"id of {uri}", uri, uri)
    starts = [120_000_000 * i for i in range(minutes // 2)]
    ends = [*starts[1:], 2**62]
    return [VideoPart(video, *part) for part in zip(starts, ends, strict=True)]


def test_parts_of_a_local_video_are_spread_one_by_one() -> None:
    assert len({stretch(part) for part in parts("a.mp4", 24)}) == 12


def test_parts_of_a_remote_video_stay_together_for_ten_minutes() -> None:
    for uri in ("gs://bucket/a.mp4", "https://host/a.mp4"):
        groups = Counter(stretch(part) for part in parts(uri, 24))
        assert sorted(groups.values()) == [2, 5, 5]


def test_every_part_comes_through_once() -> None:
    given = [*parts("a.mp4", 6), *parts("gs://bucket/b.mp4", 24)]
    with TestPipeline() as pipeline:
        spread = pipeline | beam.Create(given) | SpreadParts()
        assert_that(spread, equal_to(given))
