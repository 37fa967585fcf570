"""What is read of a base run: matches, dead letters, sums and clips."""

from functools import partial
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

import transforms.coders  # noqa: F401  (registers the elements' coders)
from clipseed.elements import ClipCaption, Match, Seed, Video
from clipseed.errors import DeadLetter
from clipseed.hashing import shard_of
from clipseed.io import storage
from clipseed.run import accounting as c
from clipseed.run.clip_record import decode, encode
from clipseed.run.manifest import IndexFacts, MiningFacts, RunManifest
from clipseed.run.reader import Run
from clipseed.run.tfrecord import write_records
from clipseed.run.writer import RunWriter
from tests.support.tiny_run import clip_record
from transforms.clips.reuse import BaseClips, open_shard, recaption
from transforms.clips.write import _copied_records, _Outcome
from transforms.matches.select import Selection
from transforms.run.merge import (
    DropBaseVideos,
    ReadBaseRun,
    dead_letter_of,
    read_matches,
    seeds_fingerprint,
)
from transforms.run.tables import write_matches, write_rejected

S = 1_000_000
A, B = Video("a", "a.mp4", "/a.mp4"), Video("b", "b.mp4", "/b.mp4")
SEEDS = [Seed("s", "s.png", "one"), Seed("s", "s.png", "two"), Seed("t", "t.png", "x")]
MATCHES = [Match("s", 0.75, A, 5), Match("s", 0.5, B, 7), Match("t", 0.625, A, 5)]
PROBE = DeadLetter("probe", "c.mp4", "not_a_video", "It is a tëxt.")
CUT = DeadLetter("write_clips", "a.mp4@2.000s", "no_frames", "No frame.")
COUNTS = {
    c.VIDEOS: 3, c.FRAMES: 9, c.PARTS: 2, c.dead_letters("probe", "not_a_video"): 1,
    c.dead_letters("write_clips", "no_frames"): 1, c.MATCHES: 2, c.SEEDS: 3, c.PAIRS: 1,
}  # fmt: skip


def nameless(match: Match) -> Match:
    return match._replace(video=match.video._replace(uri=""))


@pytest.fixture
def base(root: str) -> Run:
    """Write a run directory with matches and dead letters, in two shards each."""
    writer, selection = RunWriter(root), Selection(0.6, 9, 0)
    files = [
        writer.write_shard(
            "matches", shard, 2, lambda p, m=m: write_matches(p, m, selection, "e", "h")
        )
        for shard, m in enumerate([MATCHES[:2], MATCHES[2:]])
    ]
    for shard in range(2):
        rejected = [m for m in (PROBE, CUT) if shard_of(m.key, 2) == shard]
        write = partial(write_rejected, rejected=rejected)
        files.append(writer.write_shard("rejected", shard, 2, write))
    mining = MiningFacts(
        config={}, config_hash="h", embedder="e", threshold=0.6, min_similarity=0.4,
        versions={}, started=0.0, seconds=0.0, counts=c.Counts(COUNTS),
        seeds_fingerprint=sum(map(seeds_fingerprint, SEEDS)),
        index=IndexFacts("exact", 2),
    )  # fmt: skip
    writer.finish(RunManifest(tuple(files), mining))
    return Run.open(root)


def test_matches_above_a_similarity_are_read(base: Run) -> None:
    first, second = base.uris("matches")
    assert list(read_matches(first, 0.4)) == [nameless(m) for m in MATCHES[:2]]
    assert list(read_matches(first, 0.5)) == [nameless(MATCHES[0])]
    assert list(read_matches(second, 0.4)) == [nameless(MATCHES[2])]


def test_a_dead_letter_is_found_by_stage_and_key(base: Run) -> None:
    assert dead_letter_of(base, "write_clips", CUT.key) == CUT
    assert dead_letter_of(base, "read_sound", CUT.key) is None
    assert dead_letter_of(base, "write_clips", "a.mp4@2.001s") is None
    assert dead_letter_of(base, "probe", PROBE.key) == PROBE


def test_only_what_is_not_done_again_is_taken_over(base: Run) -> None:
    with TestPipeline(runner="FnApiRunner") as pipeline:
        read = pipeline | beam.Create(SEEDS[::-1]) | ReadBaseRun(base, 0.4)
        wanted = [nameless(match) for match in MATCHES]
        assert_that(read.matches, equal_to(wanted), label="matches")
        assert_that(read.rejected, equal_to([PROBE]), label="rejected")
        sums = [
            (c.VIDEOS, 3), (c.FRAMES, 9), (c.PARTS, 2),
            (c.dead_letters("probe", "not_a_video"), 1),
        ]  # fmt: skip
        assert_that(read.tallies, equal_to(sums), label="tallies")


@pytest.mark.parametrize(
    "seeds",
    [
        [], SEEDS[:2], [*SEEDS, SEEDS[2]],
        [*SEEDS[:2], SEEDS[2]._replace(caption="y")],
        [*SEEDS[:2], SEEDS[2]._replace(seed_id="u")],
    ],
)  # fmt: skip
def test_other_seeds_have_another_fingerprint(seeds: list[Seed]) -> None:
    assert sum(map(seeds_fingerprint, seeds)) != sum(map(seeds_fingerprint, SEEDS))
    assert all(0 <= seeds_fingerprint(seed) < 2**36 for seed in seeds)


def test_videos_of_the_base_run_are_dropped() -> None:
    again = A._replace(reference="again.mp4")
    with TestPipeline(runner="FnApiRunner") as pipeline:
        old = pipeline | "Old" >> beam.Create([nameless(m) for m in MATCHES[::2]])
        new = pipeline | "New" >> beam.Create([again, B])
        split = new | DropBaseVideos(old)
        dropped = DeadLetter(
            "list_videos", "again.mp4", "duplicate_video",
            "an earlier video has the id a; make ids distinct",
        )  # fmt: skip
        assert_that(split.videos, equal_to([B]), label="videos")
        assert_that(split.rejected, equal_to([dropped]), label="rejected")


# --- clips ---------------------------------------------------------------------------


def row(
    seed_id: str, caption: str, time_us: int, similarity: float = 0.5
) -> ClipCaption:
    return ClipCaption(seed_id, f"{seed_id}.png", caption, 1, similarity, time_us, A)


def test_a_clip_is_captioned_with_what_is_chosen_now() -> None:
    clip = decode(encode(clip_record(1, ["old", "older"], frames=2)))
    object.__setattr__(clip, "times_us", (2 * S, 3 * S))
    rows = [
        row("s", "same", 2 * S), row("t", "same", 3 * S, 0.75),
        row("u", "elsewhere", 4 * S),
    ]  # fmt: skip
    record, captions = recaption(clip, rows)
    assert captions == rows[1:2] and record.times_us == (2 * S, 3 * S)
    assert [(c.text, c.seed_id, c.time_us) for c in record.captions] == [
        ("same", "t", 3 * S)
    ]
    assert record.frames == clip.frames
    record, captions = recaption(clip, rows[2:])
    assert (captions, record.captions, record.times_us) == ([], (), ())


def write_shard(path: Path, *numbers: int) -> str:
    write_records(str(path), [encode(clip_record(n, ["c"], frames=2)) for n in numbers])
    return str(path)


def test_clips_are_read_by_video_in_their_order(tmp_path: Path, base: Run) -> None:
    clips = BaseClips(write_shard(tmp_path / "a", 2, 2, 4, 6), base)
    found = {
        name: [clip.clip_id for clip in clips.of_video(name)]
        for name in ("video1", "video2", "video5", "video6", "video7")
    }
    assert found == {
        "video1": [], "video2": ["clip2"] * 2, "video5": [], "video6": ["clip6"],
        "video7": [],
    }  # fmt: skip


def test_a_damaged_shard_ends_the_job(tmp_path: Path, base: Run) -> None:
    path = tmp_path / "a"
    data = Path(write_shard(path, 2, 4)).read_bytes()
    path.write_bytes(data[:-10])
    clips = BaseClips(str(path), base)
    with pytest.raises(RuntimeError, match="the base run is damaged: a is damaged"):
        list(clips.of_video("video4"))


def test_a_shard_is_opened_only_of_a_base_run(base: Run, tmp_path: Path) -> None:
    with open_shard(None, "clips/0") as clips:
        assert clips is None
    data = Path(write_shard(tmp_path / "a", 3)).read_bytes()
    storage.write_bytes(f"{base.uri}/clips/0", data)
    with open_shard(base, "clips/0") as clips:
        assert clips is not None and len(list(clips.of_video("video3"))) == 1


def test_what_has_no_clip_then_has_its_dead_letter_now(
    tmp_path: Path, base: Run
) -> None:
    clips = BaseClips(write_shard(tmp_path / "a", 2), base)
    outcome = _Outcome()
    rows = [row("s", "c", 2 * S), row("t", "d", 9 * S)]
    waiting = {2 * S, 9 * S}
    assert list(_copied_records(A, rows, waiting, clips, outcome)) == []
    lost = "The base run has neither this clip nor a reason why."
    assert outcome.rejected == [
        CUT,
        DeadLetter("write_clips", "a.mp4@9.000s", "not_in_base_run", lost),
    ]
