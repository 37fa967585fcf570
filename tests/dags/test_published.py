"""The pointer: whole at each moment, keyed by day, the same bytes for the same runs."""

import json
from dataclasses import replace

import pytest
from published import (
    digest,
    find,
    free_place,
    publish,
    read_published,
    with_run,
    without_day,
    write_published,
)

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.files import RunFile
from tests.support.daily.made_published import published_run

FIRST, SECOND, THIRD = (published_run(f"2026-01-0{day}") for day in (1, 2, 3))


def pointer(root: str) -> bytes:
    return storage.read_bytes(storage.join(root, "latest.json"), 1 << 20)


def place_files(root: str, run: str) -> str:
    uri = storage.join(root, f"{run}/pairs.csv")
    storage.write_bytes(uri, b"pairs")
    return uri


def test_days_are_listed_in_their_order_whenever_they_come(root: str) -> None:
    for run in (SECOND, FIRST, THIRD):
        assert publish(root, run) == run
    assert read_published(root) == [FIRST, SECOND, THIRD]
    assert json.loads(pointer(root))["latest"] == "runs/2026-01-03/a"


def test_nothing_is_published_at_first(root: str) -> None:
    assert read_published(root) == []


def test_the_same_result_mined_again_changes_nothing(root: str) -> None:
    old, new = (place_files(root, f"runs/2026-01-01/{place}") for place in "ab")
    publish(root, FIRST)
    before = pointer(root)
    again = replace(FIRST, run="runs/2026-01-01/b")
    assert publish(root, again) == FIRST
    assert pointer(root) == before
    assert storage.exists(old) and not storage.exists(new)
    assert publish(root, FIRST) == FIRST  # A task that is tried again.
    assert pointer(root) == before and storage.exists(old)


def test_another_result_replaces_the_days_own(root: str) -> None:
    old, new = (place_files(root, f"runs/2026-01-01/{place}") for place in "ab")
    publish(root, FIRST)
    publish(root, SECOND)
    better = replace(FIRST, run="runs/2026-01-01/b", digest="other", pairs=20)
    assert publish(root, better) == better
    assert read_published(root) == [better, SECOND]
    assert storage.exists(new) and not storage.exists(old)


def test_a_day_is_mined_where_nothing_is_published() -> None:
    assert free_place([], "2026-01-01") == "runs/2026-01-01/a"
    assert free_place([SECOND], "2026-01-01") == "runs/2026-01-01/a"
    assert free_place([FIRST], "2026-01-01") == "runs/2026-01-01/b"
    moved = replace(FIRST, run="runs/2026-01-01/b")
    assert free_place([moved], "2026-01-01") == "runs/2026-01-01/a"


def test_a_day_can_be_found_and_taken_off() -> None:
    runs = with_run(with_run([], SECOND), FIRST)
    assert find(runs, "2026-01-02") == SECOND and find(runs, "2026-01-09") is None
    assert without_day(runs, "2026-01-02") == [FIRST]


def test_the_digest_is_of_what_is_published_in_any_order() -> None:
    pairs = RunFile("pairs.csv", 1, 1, "1")
    clips = RunFile("clips/0", 1, 1, "2")
    assert digest([pairs, clips]) == digest([clips, pairs])
    assert digest([pairs, clips]) != digest([pairs, clips._replace(sha256="3")])
    index = RunFile("index/x", 1, 1, "4")
    assert digest([pairs, clips, index]) == digest([pairs, clips])


@pytest.mark.parametrize(
    "text", ["", "[]", '{"runs": []}', '{"format": "other/1", "runs": []}',
             '{"format": "clipseed-published/1", "runs": [{"day": "2026-01-01"}]}'],
)  # fmt: skip
def test_a_damaged_pointer_is_refused(root: str, text: str) -> None:
    storage.write_bytes(storage.join(root, "latest.json"), text.encode())
    with pytest.raises(InputError) as caught:
        read_published(root)
    assert caught.value.reason == "damaged_pointer"


def test_an_empty_list_has_no_latest(root: str) -> None:
    write_published(root, [])
    assert json.loads(pointer(root))["latest"] is None
    assert read_published(root) == []
