"""Figures that add up, stage by stage."""

import json

import pytest

from clipseed.run import accounting as c

# A run in which every stage drops something.
SUMS = {
    c.SEED_ROWS: 20,
    c.dead_letters("read_seeds", "empty_caption"): 2,
    c.dead_letters("read_seeds", "missing_image"): 1,
    c.SEEDS: 16,
    c.dead_letters("load_seeds", "not_found"): 4,
    c.IMAGES: 12,
    c.IMAGES_EMBEDDED: 11,
    c.dead_letters("embed_seeds", "no_embedding"): 1,
    c.VIDEOS: 9,
    c.dead_letters("list_videos", "duplicate_video"): 1,
    c.dead_letters("filter_videos", "too_old"): 3,
    c.VIDEOS_MINED: 7,
    c.VIDEOS_FAILED: 2,
    c.dead_letters("probe", "not_a_video"): 2,
    c.FRAMES: 500,
    c.FRAMES_EMBEDDED: 498,
    c.dead_letters("embed_frames", "embedding_failed"): 2,
    c.MATCHES: 90,
    c.BELOW_THRESHOLD: 30,
    c.NOT_AMONG_THE_BEST: 27,
    c.SELECTED: 33,
    c.CUTS: 30,
    c.CUTS_WRITTEN: 28,
    c.dead_letters("write_clips", "no_frames"): 1,
    c.dead_letters("write_clips", "sound_none"): 1,
    c.clips_with_sound("ok"): 4,
    c.clips_with_sound("none"): 2,
    # Neither of these drops anything.
    c.dead_letters("extract_frames", "broken_video"): 5,
    c.dead_letters("read_sound", "broken_sound"): 3,
}
COUNTS = c.Counts(SUMS)
STAGES = [
    ("read_seeds", 23, 20, {"empty_caption": 2, "missing_image": 1}),
    ("load_seeds", 20, 16, {"not_found": 4}),
    ("embed_seeds", 12, 11, {"no_embedding": 1}),
    ("list_videos", 13, 9, {"too_old": 3, "duplicate_video": 1}),
    ("extract_frames", 9, 7, {"failed": 2}),
    ("embed_frames", 500, 498, {"embedding_failed": 2}),
    ("select_matches", 90, 33, {"below_threshold": 30, "not_among_the_best": 27}),
    ("write_clips", 30, 28, {"no_frames": 1, "sound_none": 1}),
]


def test_each_stage_accounts_for_what_came() -> None:
    stages = list(c.account_for(COUNTS))
    assert stages == [c.StageAccount(*stage) for stage in STAGES]
    assert all(stage.balanced for stage in stages)


@pytest.mark.parametrize(
    ("counter", "stage"),
    [
        (c.SEEDS, "load_seeds"),
        (c.IMAGES_EMBEDDED, "embed_seeds"),
        (c.VIDEOS_MINED, "extract_frames"),
        (c.FRAMES_EMBEDDED, "embed_frames"),
        (c.SELECTED, "select_matches"),
        (c.BELOW_THRESHOLD, "select_matches"),
        (c.CUTS_WRITTEN, "write_clips"),
    ],
)
def test_what_is_lost_is_told(counter: c.Counter, stage: str) -> None:
    lossy = c.Counts({**SUMS, counter: SUMS[counter] - 1})
    lost = [each.stage for each in c.account_for(lossy) if not each.balanced]
    assert lost == [stage]


def test_an_empty_run_balances() -> None:
    stages = list(c.account_for(c.Counts({})))
    assert [(s.inputs, s.outputs, s.balanced) for s in stages] == [(0, 0, True)] * 8


def test_sums_are_grouped() -> None:
    assert COUNTS.dead_letters_of("list_videos", "filter_videos") == 4
    assert COUNTS.sound_verdicts == {"none": 2, "ok": 4}
    assert COUNTS.matches_above_threshold == 60
    assert COUNTS[c.CLIPS] == 0
    assert COUNTS.of_stages(["probe", "embed_frames"]).sums == {
        c.dead_letters("probe", "not_a_video"): 2,
        c.FRAMES: 500,
        c.FRAMES_EMBEDDED: 498,
        c.dead_letters("embed_frames", "embedding_failed"): 2,
    }


def test_sums_come_back_from_json() -> None:
    tree = json.loads(json.dumps(COUNTS.as_json()))
    assert c.Counts.from_json(tree) == COUNTS
    assert tree["load_seeds"] == {"dead_letters": {"not_found": 4}, "out": 16}


@pytest.mark.parametrize("wrong", ["7", 7.0, True, None])
def test_a_sum_of_another_type_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="embed_frames"):
        c.Counts.from_json({"embed_frames": {"in": wrong}})
