"""The made world of the benchmark: its scenes, its true runs, its measures."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from beam_pipeline.demo.world import Scene, caption
from benchmarks.made_world import corpus, report, runs
from benchmarks.made_world.measures import (
    CHANCE,
    FACTS,
    Measures,
    shuffle_frames,
    swap_sounds,
    told,
)
from benchmarks.made_world.scenes import (
    HABIT,
    LOOKS,
    OPPOSITES,
    Look,
    draw_habits,
    draw_scenes,
    draw_test,
)
from clipseed.run.clip_record import decode
from clipseed.run.reader import Run
from models.data.clip_inputs import ClipInputs

RNG = np.random.default_rng


def test_scenes_follow_the_habits_of_their_look_as_often_as_said() -> None:
    habits = draw_habits(RNG(0))
    scenes = draw_scenes(4000, habits, RNG(1))
    usual = [
        s.motion == habits.motions[s.object]
        and s.sound == habits.sounds[Look(s.place, s.object, s.color)]
        for s in scenes
    ]

    assert np.mean(usual) == pytest.approx(HABIT + (1 - HABIT) / 64, abs=0.02)
    assert len({(s.place, s.object, s.color) for s in scenes}) == len(LOOKS)


def test_the_test_needs_eyes_ears_and_time() -> None:
    scenes = draw_test(5, RNG(2))

    assert len({caption(scene) for scene in scenes}) == len(scenes) == 80
    looks = Counter((s.place, s.object, s.color) for s in scenes)
    assert set(looks.values()) == {16}
    for scene in scenes:
        pair = next(pair for pair in OPPOSITES if scene.motion in pair)
        for motion in pair:  # The same but for the direction is there too.
            twin = (scene.place, scene.object, scene.color, motion, scene.sound)
            assert Scene(*twin) in scenes


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Scene]]:
    directory = tmp_path_factory.mktemp("made_world")
    scenes = draw_test(1, RNG(3))[:2]
    films = corpus.render_films(directory / "films", scenes, 7)
    assert runs.filmed(films, scenes, directory / "run") == 2
    return directory, scenes


def test_films_become_clips_that_say_what_they_show(
    filmed: tuple[Path, list[Scene]],
) -> None:
    directory, scenes = filmed
    clips = Run.open(directory / "run", verify="checksums").open_clips()
    records = [decode(clips.read(number)) for number in range(len(clips))]

    said = [[each.text for each in record.captions] for record in records]
    assert said == [[caption(scene)] for scene in scenes]
    for record in records:
        assert record.end_us - record.start_us == runs.CLIP_S * 1_000_000
        assert len(record.frames) == runs.CLIP_S * corpus.FPS
        assert record.sound_verdict == "ok"


def test_a_run_is_told_the_truth_and_is_the_same_otherwise(
    filmed: tuple[Path, list[Scene]],
) -> None:
    directory, scenes = filmed
    before = Run.open(directory / "run", verify="checksums").open_clips()
    videos = [decode(before.read(number)).video for number in range(2)]
    truth = dict(zip(videos, reversed(scenes), strict=True))
    runs.recaptioned(directory / "run", truth, directory / "told")
    after = Run.open(directory / "told", verify="checksums").open_clips()

    for number, scene in enumerate(reversed(scenes)):
        old, new = decode(before.read(number)), decode(after.read(number))
        assert [each.text for each in new.captions] == [caption(scene)]
        assert new.frames == old.frames
        assert np.array_equal(new.samples, old.samples)
    pairs = Run.open(directory / "told").pairs_csv()
    assert [pair.caption for pair in pairs] == [
        caption(scene) for scene in reversed(scenes)
    ]


def test_stills_of_one_scene_differ_by_visit() -> None:
    scene = draw_test(1, RNG(4))[0]

    assert np.array_equal(corpus.still(scene, 1), corpus.still(scene, 1))
    assert not np.array_equal(corpus.still(scene, 1), corpus.still(scene, 2))


class _Words:
    """An encoder of texts that knows words alone: a dimension a word."""

    def __init__(self, scenes: list[Scene]) -> None:
        self._words = sorted({word for s in scenes for word in caption(s).split()})

    def texts(self, captions: list[str]) -> np.ndarray:
        rows = [[word in text.split() for word in self._words] for text in captions]
        return np.array(rows, np.float32)


def test_facts_are_told_by_who_knows_them_and_by_nobody_else() -> None:
    scenes = draw_test(6, RNG(5))
    words = _Words(scenes)
    clips = words.texts([caption(scene) for scene in scenes])
    silent = clips.copy()
    for column, word in enumerate(words._words):
        if any(word in caption(s).split(" while ")[1].split() for s in scenes):
            silent[:, column] = 0

    assert told(words, clips, scenes, "sound") == 1
    assert told(words, silent, scenes, "sound") < 0.3
    assert told(words, silent, scenes, "direction") == 1


def test_changes_of_batches_keep_what_they_do_not_change() -> None:
    rng = RNG(6)
    clips = ClipInputs(rng.random((8, 4, 2, 2, 3)), rng.random((8, 5, 3)))
    swapped, shuffled = swap_sounds(clips), shuffle_frames(clips)

    assert np.array_equal(swapped.video, clips.video)
    assert not any(map(np.array_equal, swapped.audio, clips.audio))
    assert np.array_equal(shuffled.audio, clips.audio)
    assert np.array_equal(np.sort(shuffled.video, axis=1), np.sort(clips.video, axis=1))
    assert not np.array_equal(shuffled.video, clips.video)


def test_the_report_has_a_row_a_model_and_chance() -> None:
    measured = {"V": Measures(12.34, 5.0, dict.fromkeys(FACTS, 0.5))}
    lines = report.as_markdown(measured, {"place": 0.75}).splitlines()

    assert lines[2] == "| V | 12.3 | 5 | " + " | ".join(["50"] * len(FACTS)) + " |"
    assert lines[3].startswith("| chance | 0.4 | 128.5 |")
    assert lines[4].startswith("| mined captions that are true |  |  | 75 |")
    assert set(CHANCE) == set(FACTS)


def test_seeds_are_found_from_their_table_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (scene,) = draw_scenes(1, draw_habits(RNG(0)), RNG(1))
    files = corpus.render_stills(Path("world/seeds"), [scene], 0)
    corpus.write_seeds(Path("world/seeds.csv"), files, [scene])

    with open("world/seeds.csv", newline="") as file:
        _, (image, said) = csv.reader(file)
    assert said == caption(scene)
    assert (tmp_path / "world" / image).is_file()
