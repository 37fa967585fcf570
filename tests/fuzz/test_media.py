"""Damaged videos and images: each is used or has a reason, and costs nobody else."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz.examine import (
    USED,
    USED_IN_PART,
    examine_image,
    examine_mutants,
    examine_video,
)
from benchmarks.fuzz.mutations import DAMAGES, mutate
from benchmarks.fuzz.sources import Source, make_images, make_videos
from tests.support.paths import DATA
from transforms.media.isolation.containment import UNEXPECTED, canary
from transforms.media.isolation.worker_process import Isolation

HOSTILE = DATA / "hostile"
# Hostile videos kept with the test data, and what is to become of them.
KNOWN = {
    "m0060_dur_c_decord_corrupted.mp4": "no_frames",
    "m0441_remove_r_flv.flv": USED_IN_PART,
    "m1047_text_x.mov": "not_a_video",
    "m1057_moov_r_frag.mp4": "unknown_codec",
    "m1063_dur_c_exo_desks.3gp": "duration",
    "m1150_dur_c_mpy_failing_audio.mp4": "broken_video",
    "m1523_dur_c_decord_corrupted.mp4": "no_frames",
    "m1647_flipfew_r_flv.flv": USED_IN_PART,
    "m1956_header_r_pr.mov": "unsupported_pixels",
}


@pytest.fixture(autouse=True)
def fresh_canary() -> Iterator[None]:
    canary.reset()
    yield
    canary.reset()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    return make_videos(tmp_path_factory.mktemp("videos"))


@pytest.mark.skipif(not HOSTILE.exists(), reason="shared/data is not on this machine")
@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("isolate", [True, False], ids=["child", "in-process"])
def test_known_hostile_videos_are_quick_to_judge(name: str, isolate: bool) -> None:
    isolation = Isolation(isolate)
    verdict = examine_video(str(HOSTILE / name), isolation)
    isolation.close()
    assert verdict.outcome == KNOWN[name] and verdict.parts <= 2
    assert not UNEXPECTED & {verdict.outcome, verdict.clip}


def test_undamaged_sources_are_used(videos: list[Source], tmp_path: Path) -> None:
    isolation = Isolation()
    assert len(videos) >= 10
    for name, data in videos:
        (tmp_path / name).write_bytes(data)
        verdict = examine_video(str(tmp_path / name), isolation)
        assert (verdict.outcome, verdict.clip) == (USED, ""), (name, verdict)
    isolation.close()
    assert {examine_image(data).outcome for _, data in make_images()} == {USED}


def test_a_seed_decides_every_byte(videos: list[Source]) -> None:
    first, second = (
        [mutate(videos[0], videos, random.Random(f"3/{n}")) for n in range(100)]
        for _ in range(2)
    )
    assert first == second
    assert len({mutant.data for mutant in first}) > 80
    assert {mutant.mutation for mutant in first} > set(DAMAGES)


def check(videos: list[Source], numbers: range, seed: int) -> None:
    surprises = [
        (number, mutant.name, mutant.mutation, verdict)
        for number, mutant, verdict in examine_mutants(
            videos, make_images(), numbers, seed
        )
        if UNEXPECTED & {verdict.outcome, verdict.clip} or verdict.parts > 25
    ]
    assert not surprises


def test_damaged_files_end_as_foreseen(videos: list[Source]) -> None:
    check(videos, range(250), seed=1)
