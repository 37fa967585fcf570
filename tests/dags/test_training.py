"""When a training is due, on what, and where it resumes."""

from dataclasses import replace

import pytest
from training import new_pairs, read_trained, training_of, write_trained

from clipseed.errors import InputError
from clipseed.io import storage
from tests.support.daily.made_published import published_run

FIRST, SECOND = published_run("2026-01-01"), published_run("2026-01-02", pairs=30)
EMPTY = published_run("2026-01-03", clips=0, pairs=0)


def test_pairs_are_new_until_a_model_has_seen_them() -> None:
    assert new_pairs([], {}) == 0
    assert new_pairs([FIRST, SECOND], {}) == 42
    assert new_pairs([FIRST, SECOND], {FIRST.day: FIRST.digest}) == 30
    seen = training_of([FIRST, SECOND], ["tiny"]).days
    assert new_pairs([FIRST, SECOND], seen) == 0


def test_a_day_mined_to_another_result_is_new_again() -> None:
    seen = training_of([FIRST, SECOND], ["tiny"]).days
    assert new_pairs([replace(FIRST, digest="other", pairs=14), SECOND], seen) == 14
    moved = replace(FIRST, run="runs/2026-01-01/b")
    assert new_pairs([moved, SECOND], seen) == 0


def test_runs_without_clips_have_no_part_in_it() -> None:
    training = training_of([FIRST, EMPTY], ["tiny"])
    assert training.days == {FIRST.day: FIRST.digest}
    assert training.name.startswith("2026-01-01-")


def test_the_name_tells_data_and_settings_apart() -> None:
    name = training_of([FIRST, SECOND], ["tiny"]).name
    assert name == training_of([FIRST, SECOND], ["tiny"]).name
    others = {
        training_of([FIRST], ["tiny"]).name,
        training_of([FIRST, replace(SECOND, digest="other")], ["tiny"]).name,
        training_of([FIRST, SECOND], ["tiny", "epochs=2"]).name,
    }
    assert len(others) == 3 and name not in others


def test_what_was_trained_on_is_kept(root: str) -> None:
    assert read_trained(root) == {}
    training = training_of([FIRST, SECOND], ["tiny"])
    write_trained(root, training)
    assert read_trained(root) == training.days


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"format": "clipseed-trained/2", "days": {}}']
)
def test_a_damaged_record_is_refused(root: str, text: str) -> None:
    storage.write_bytes(storage.join(root, "trained.json"), text.encode())
    with pytest.raises(InputError) as caught:
        read_trained(root)
    assert caught.value.reason == "damaged_record"
