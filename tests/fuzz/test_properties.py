"""What holds of all tables, intervals, selections and outcomes, not of examples."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from clipseed.elements import Match, Video
from clipseed.io.tables import Row, read_rows
from clipseed.run.outcomes import VideoOutcome, _lost_videos
from transforms.clips.cut import part_around, plan_parts
from transforms.matches.select import Selection, select_matches
from transforms.media.instants import Instants

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)
HOURS_US = 5 * 3_600_000_000
# What a CSV writer quotes, and every reader must give back; NUL it refuses.
texts = some.text(
    some.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@few
@given(some.lists(some.tuples(texts, texts), max_size=8))
def test_what_a_csv_writer_writes_is_read_back(
    folder: Path, rows: list[tuple[str, str]]
) -> None:
    path = folder / "made.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    found = list(read_rows(str(path)))
    assert all(isinstance(row, Row) for row in found)
    cells = [(row.cells["image"], row.cells["caption"]) for row in found]
    assert cells == [tuple(row) for row in rows]


times = some.integers(0, HOURS_US)


@few
@given(times, times, some.integers(1, 60_000_000))
def test_a_clip_holds_its_time_and_lies_in_the_video(
    time_us: int, duration_us: int, clip_us: int
) -> None:
    start_us, end_us = part_around(time_us, duration_us, clip_us)
    assert 0 <= start_us < end_us <= max(duration_us, time_us + 1)
    assert end_us - start_us <= clip_us
    if time_us < duration_us:
        assert start_us <= time_us < end_us
        assert end_us - start_us == min(clip_us, duration_us)


@few
@given(some.lists(some.tuples(times, times), max_size=9))
def test_every_time_is_in_one_part(ends: list[tuple[int, int]]) -> None:
    parts = plan_parts(ends, 10_000_000)
    assert sorted(parts) == list(parts)
    assert {t for times_us in parts.values() for t in times_us} == {t for t, _ in ends}


@few
@given(some.lists(some.integers(0, 50), unique=True).map(sorted), some.integers(0, 60))
def test_skipping_leaves_what_is_due_later(times_us: list[int], until_us: int) -> None:
    instants = Instants(times_us)
    instants.skip(until_us)
    left = []
    while instants.next_us is not None:
        left.append(instants.advance())
    assert left == [time_us for time_us in times_us if time_us >= until_us]


matches = some.lists(
    some.builds(
        lambda video, time_us, similarity: Match(
            "s", similarity / 8, Video(str(video), f"{video}.mp4", ""), time_us
        ),
        some.integers(0, 4), some.integers(0, 9), some.integers(0, 8),
    ),
    max_size=30,
)  # fmt: skip


@few
@given(matches, some.integers(0, 4), some.integers(1, 6), some.randoms())
def test_more_videos_only_displace(
    found: list[Match], gap_us: int, top_k: int, order: object
) -> None:
    """What a merged run selects of the base run was selected in it."""
    selection = Selection(0.25, top_k, gap_us)
    base = [match for match in found if int(match.video.video_id) < 3]
    then, now = select_matches(base, selection), select_matches(found, selection)
    stay = [match for match in now if match in set(base)]
    assert stay == then[: len(stay)]
    assert len(now) <= top_k and all(match.similarity > 0.25 for match in now)
    order.shuffle(found)  # type: ignore[attr-defined]
    assert select_matches(found, selection) == now


outcomes = some.builds(
    lambda number, parts, frames, damages: VideoOutcome(
        str(number), f"{number}.mp4", 1, parts, parts, frames, damages
    ),
    some.integers(0, 99), some.integers(1, 3), some.integers(0, 3), some.integers(0, 2),
)  # fmt: skip


@few
@given(some.lists(outcomes, unique_by=lambda row: row.video_id), some.data())
def test_whatever_one_video_lacks_is_noticed(
    rows: list[VideoOutcome], data: some.DataObject
) -> None:
    told = {row.video for row in rows if row.damages or not row.frames}
    assert list(_lost_videos(rows, told)) == []
    if rows:
        lost = data.draw(some.integers(0, len(rows) - 1))
        changed = [*rows]
        changed[lost] = rows[lost]._replace(sampled=rows[lost].parts - 1)
        (problem,) = _lost_videos(changed, told)
        assert rows[lost].video in problem
    for name in told:
        (problem,) = _lost_videos(rows, told - {name})
        assert name in problem
