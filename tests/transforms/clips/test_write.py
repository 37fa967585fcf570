"""From selected matches to clips: what is cut, written and accounted for."""

import hashlib
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from clipseed.elements import ASR, ClipCaption, Pair, Video
from clipseed.hashing import shard_of
from clipseed.io.http import FetchConfig
from clipseed.run.clip_record import Caption, ClipRecord, decode
from clipseed.run.tfrecord import read_records
from tests.support.made_media import (
    corrupt_from,
    film,
    overwrite,
    packet_places,
    tone,
    write_video,
)
from transforms.clips.cut import CutClip, CutConfig
from transforms.clips.write import ClipReport, ClipsConfig, WriteClips, make_record
from transforms.media.audio import Sound

S = 1_000_000
A = Video("a", "a.mp4", "/a.mp4")


def selected(
    seed_id: str, similarity: float, time_us: int, **other: Any
) -> ClipCaption:
    row = ClipCaption(seed_id, f"{seed_id}.png", "c", 1, similarity, time_us, A)
    return row._replace(**other)


# --- records -------------------------------------------------------------------------


def config(run_dir: str = "", require_sound: bool = False) -> ClipsConfig:
    cut = CutConfig(10 * S, 2.0, 32, 60.0)
    fetch = FetchConfig()
    return ClipsConfig(run_dir, 2, cut, "embedder", require_sound, fetch, False)


def cut_clip(samples: np.ndarray, verdict: str) -> CutClip:
    sound = Sound(verdict, samples, "")
    part = 2 * S, 3 * S
    return CutClip(part, *part, (2 * S, 5), 9 * S, [b"1", b"2"], 32, 43, sound)


def test_a_record_joins_clip_and_captions() -> None:
    samples = np.array([0, 16384, -32768, 32767] * 4000, np.int16)
    rows = [selected("s", 0.9, 5), selected("t", 0.8, 6, caption="d", rank=3)]
    record = make_record(cut_clip(samples, "ok"), rows, config())
    digest = hashlib.sha256(b"a:2000000:3000000").hexdigest()
    assert record.clip_id == digest[:16]
    assert (record.video_id, record.video, record.video_duration_us) == (
        "a", "a.mp4", 9 * S,
    )  # fmt: skip
    assert (record.start_us, record.end_us) == (2 * S, 3 * S)
    assert record.frames == (b"1", b"2")
    assert (record.fps, record.height_px, record.width_px) == (2.0, 32, 43)
    assert record.samples.dtype == np.float32
    np.testing.assert_array_equal(record.samples[:4], [0, 0.5, -1, 32767 / 32768])
    assert record.log_mel.shape == (100, 128)
    assert record.captions == (
        Caption("c", "s", "s.png", 0.9, 1, 5),
        Caption("d", "t", "t.png", 0.8, 3, 6),
    )
    assert (record.sound_verdict, record.sample_rate_hz) == ("ok", 16_000)
    assert record.embedder == "embedder"


def test_a_record_without_sound_has_an_empty_log_mel() -> None:
    nothing = np.zeros(0, np.int16)
    record = make_record(cut_clip(nothing, "none"), [selected("s", 1, 5)], config())
    assert record.samples.shape == (0,) and record.log_mel.shape == (0, 128)


# --- shards --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Video]:
    """`loud` lasts 12 s, `mute` 3 s, `gone` is not there."""
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "loud.mp4", film(1, 12), sound=tone(12))
    write_video(root / "mute.mp4", film(2, 3))
    names = ("loud", "mute", "gone")
    return {n: Video(f"id-{n}", f"{n}.mp4", str(root / f"{n}.mp4")) for n in names}


@pytest.fixture(scope="module")
def rows(videos: dict[str, Video]) -> list[ClipCaption]:
    """Return two matches in one part, one in another, and one in each other video."""
    loud, mute, gone = videos.values()
    return [
        ClipCaption("s", "s.png", "near", 1, 0.9, 1 * S, loud),
        ClipCaption("t", "t.png", "near", 1, 0.8, 3 * S, loud),
        ClipCaption("t", "t.png", "too", 1, 0.8, 3 * S, loud),
        ClipCaption("s", "s.png", "near", 2, 0.7, 11 * S, loud),
        ClipCaption("u", "u.png", "short", 1, 0.6, 2 * S, mute),
        ClipCaption("u", "u.png", "short", 2, 0.5, 1 * S, gone),
        ClipCaption("u", "u.png", "lost", 2, 0.5, 1 * S, gone),
    ]


def clip_id(video: Video, start_us: int, end_us: int) -> str:
    part = f"{video.video_id}:{start_us}:{end_us}"
    return hashlib.sha256(part.encode()).hexdigest()[:16]


def pair(row: ClipCaption, start_us: int, end_us: int, sound: str) -> Pair:
    return Pair(
        row.video.reference, start_us, end_us, row.caption,
        clip_id(row.video, start_us, end_us), row.video.video_id, row.seed_id,
        row.image, row.rank, row.similarity, row.time_us, sound,
    )  # fmt: skip


def check(
    settings: ClipsConfig, rows: list[ClipCaption], wanted: dict[str, list]
) -> None:
    """Run the step, and compare all that comes out of it."""
    with TestPipeline(runner="FnApiRunner") as pipeline:
        written = pipeline | beam.Create(rows) | WriteClips(settings)
        for tag, elements in wanted.items():
            found = written[tag]
            if tag == "rejected":  # the message names a path of the machine
                found = found | beam.Map(lambda record: record[:3])
            elif tag == "files":
                found = found | beam.Map(lambda file: (file.path, file.records))
            elif tag == "cuts":
                found = found | beam.CombineGlobally(sum)
            assert_that(found, equal_to(elements), label=tag)


def read_clips(run_dir: Path) -> list[ClipRecord]:
    files = sorted((run_dir / "clips").iterdir())
    return [decode(data) for file in files for data in read_records(str(file))]


def files_of(run_dir: Path, clips: dict[str, int]) -> list[tuple[str, int]]:
    """Return both shards' names and numbers of records, from the videos' clips."""
    counts = [0, 0]
    for video_id, number in clips.items():
        counts[shard_of(video_id, 2)] += number
    return [(f"clips/clips-{n:05d}-of-00002.tfrecord", counts[n]) for n in range(2)]


def test_clips_are_written_and_accounted_for(
    videos: dict[str, Video], rows: list[ClipCaption], tmp_path: Path
) -> None:
    first, last, mute = (0, 10 * S), (2 * S, 12 * S), (0, 3 * S)
    wanted = {
        "pairs": [
            pair(rows[0], *first, "ok"),
            pair(rows[2], *first, "ok"),
            pair(rows[3], *last, "ok"),
            pair(rows[4], *mute, "none"),
        ],
        "reports": [
            ClipReport(10 * S, "ok", 2),
            ClipReport(10 * S, "ok", 1),
            ClipReport(3 * S, "none", 1),
        ],
        "rejected": [("write_clips", "gone.mp4@1.000s", "not_found")],
        "cuts": [5],  # 4 written, 1 rejected
        "files": files_of(tmp_path, {"id-loud": 2, "id-mute": 1}),
    }
    check(config(str(tmp_path)), rows, wanted)
    clips = {clip.clip_id: clip for clip in read_clips(tmp_path)}
    assert set(clips) == {pair.clip_id for pair in wanted["pairs"]}
    one = clips[clip_id(videos["loud"], *first)]
    assert [(c.text, c.seed_id, c.time_us) for c in one.captions] == [
        ("near", "s", 1 * S),
        ("too", "t", 3 * S),
    ]
    assert len(one.frames) == 20 and len(one.samples) == 160_000
    assert len(clips[clip_id(videos["mute"], *mute)].frames) == 6


def test_required_sound_drops_and_tells(
    rows: list[ClipCaption], tmp_path: Path
) -> None:
    wanted = {
        "rejected": [
            ("write_clips", "gone.mp4@1.000s", "not_found"),
            ("write_clips", "mute.mp4@2.000s", "sound_none"),
        ],
        "reports": [ClipReport(10 * S, "ok", 2), ClipReport(10 * S, "ok", 1)],
        "cuts": [5],  # 3 written, 2 rejected
        "files": files_of(tmp_path, {"id-loud": 2}),
    }
    check(config(str(tmp_path), require_sound=True), rows, wanted)
    assert {clip.video for clip in read_clips(tmp_path)} == {"loud.mp4"}


def test_captions_that_name_the_boundaries_get_them(
    videos: dict[str, Video], tmp_path: Path
) -> None:
    said = ClipCaption("", "", "hello", 1, -0.5, 2 * S, videos["loud"], ASR)
    rows = [
        said._replace(start_us=2 * S, end_us=6 * S),
        said._replace(start_us=2 * S, end_us=7 * S, caption="hello again"),
        said._replace(start_us=90 * S, end_us=94 * S, caption="after the end"),
    ]
    wanted = {
        "pairs": [
            pair(rows[0], 2 * S, 6 * S, "ok")._replace(source=ASR),
            pair(rows[1], 2 * S, 7 * S, "ok")._replace(source=ASR),
        ],
        "rejected": [("write_clips", "loud.mp4@90.000s", "no_frames")],
        "cuts": [3],
    }
    check(config(str(tmp_path)), rows, wanted)
    clips = read_clips(tmp_path)
    assert [clip.times_us for clip in clips] == [(), ()]
    assert [len(clip.frames) for clip in clips] == [8, 10]
    assert {clip.captions[0].source for clip in clips} == {ASR}


def test_damage_is_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    dark = write_video(tmp_path / "dark.mp4", film(1, 3))
    corrupt_from(dark, 0)
    hoarse = write_video(tmp_path / "hoarse.mp4", film(2, 3), sound=tone(3))
    noise = packet_places(hoarse, "audio")
    overwrite(hoarse, [(at, size) for time_s, at, size in noise if time_s > 1])
    rows = [
        selected("s", 0.9, 1 * S, video=Video(path.stem, path.name, str(path)))
        for path in (dark, hoarse)
    ]
    wanted = {
        "rejected": [
            ("write_clips", "dark.mp4@1.000s", "no_frames"),
            ("read_sound", "hoarse.mp4@0.000s", "broken_sound"),
        ],
        "reports": [ClipReport(3 * S, "broken", 1)],
        "cuts": [2],  # 1 written, 1 rejected: the broken sound drops nothing
    }
    check(config(str(tmp_path)), rows, wanted)


def test_shards_do_not_depend_on_the_order_of_arrival(
    rows: list[ClipCaption], tmp_path: Path
) -> None:
    for name, given in (("one", rows), ("two", rows[::-1])):
        check(config(str(tmp_path / name)), given, {})
    for file in (tmp_path / "one/clips").iterdir():
        assert file.read_bytes() == (tmp_path / "two/clips" / file.name).read_bytes()


def test_without_a_match_the_shards_are_empty(tmp_path: Path) -> None:
    files = files_of(tmp_path, {})
    check(config(str(tmp_path)), [], {"pairs": [], "files": files, "reports": []})
    assert read_clips(tmp_path) == []
