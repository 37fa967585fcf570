import hashlib
import logging
import os
import socket
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipseed.elements import Video
from clipseed.errors import DeadLetter, InputError
from tests.support.paths import DATA
from transforms.videos.manifest import (
    VideoEntry,
    VideoMetadata,
    list_videos,
    parse_count,
    parse_date,
    parse_duration_s,
    parse_safe,
    video_id_of,
)

needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")


def write(path: Path, text: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def listed(videos: str) -> tuple[list[VideoEntry], list[DeadLetter]]:
    items = list(list_videos(videos))
    assert all(x.stage == "list_videos" for x in items if isinstance(x, DeadLetter))
    return (
        [item for item in items if isinstance(item, VideoEntry)],
        [item for item in items if isinstance(item, DeadLetter)],
    )


def references(videos: str) -> list[str]:
    entries, rejected = listed(videos)
    assert rejected == []
    return [entry.video.reference for entry in entries]


# --- folder, glob, file --------------------------------------------------------------


def test_a_folder_gives_every_file_that_may_be_a_video(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b.mp4", "a/c.WEBM", "a/noextension", "a/d.xyz"):
        write(tmp_path / name)
    for name in (".hidden.mp4", ".git/x.mp4", "a/c.vtt", "a/c.JPG", "list.csv"):
        write(tmp_path / name)
    with caplog.at_level(logging.INFO):
        entries, rejected = listed(str(tmp_path))
    assert rejected == []
    expected = ["a/c.WEBM", "a/d.xyz", "a/noextension", "b.mp4"]
    assert [entry.video.reference for entry in entries] == expected
    assert [entry.video.uri for entry in entries] == [
        str(tmp_path / name) for name in expected
    ]
    assert {entry.metadata for entry in entries} == {VideoMetadata()}
    assert "ignored 3 files" in caplog.text


def test_ids_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a" / "x.mp4")
    write(tmp_path / "two" / "a" / "x.mp4")
    ids = []
    for folder in (f"{tmp_path}/one", f"{tmp_path}/two/", f"{tmp_path}/two/*/*.mp4"):
        (entry,), _ = listed(folder)
        assert entry.video.reference == "a/x.mp4"
        ids.append(entry.video.video_id)
    assert set(ids) == {hashlib.sha256(b"a/x.mp4").hexdigest()[:16]}


def test_a_glob_names_videos_by_what_follows_its_fixed_part(tmp_path: Path) -> None:
    for name in ("x/1.mp4", "x/2.avi", "x/y/3.mp4"):
        write(tmp_path / name)
    assert references(f"{tmp_path}/x/*.mp4") == ["1.mp4"]
    assert references(f"{tmp_path}/**/*.mp4") == ["x/1.mp4", "x/y/3.mp4"]


def test_one_file_is_a_corpus_whatever_its_name(tmp_path: Path) -> None:
    assert references(write(tmp_path / "clip [HD].mp4")) == ["clip [HD].mp4"]
    assert references(write(tmp_path / "odd.txt")) == ["odd.txt"]
    url = "https://x.org/v/1.mp4?a=b"
    assert list(list_videos(url)) == [
        VideoEntry(Video(video_id_of(url), url, url), VideoMetadata())
    ]


def test_relative_folders_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "v" / "a.mp4")
    monkeypatch.chdir(tmp_path)
    for videos in (".", "v/..", "*/*.mp4"):
        (entry,), _ = listed(videos)
        assert entry.video.reference == "v/a.mp4"
        assert os.path.isfile(entry.video.uri)


def test_pipes_and_sockets_are_rejected_unopened(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / ".hidden")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock.mp4"))
        entries, rejected = listed(str(tmp_path))
    assert [entry.video.reference for entry in entries] == ["a.mp4"]
    assert [(item.key, item.reason) for item in rejected] == [
        ("pipe.mp4", "not_a_regular_file"),
        ("sock.mp4", "not_a_regular_file"),
    ]


def test_a_name_that_is_not_utf8_is_told_in_print(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    odd = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    Path(os.fsdecode(odd)).touch()
    entries, (rejected,) = listed(str(tmp_path))
    assert [entry.video.reference for entry in entries] == ["a.mp4"]
    assert (rejected.key, rejected.reason) == ("caf\\xe9.mp4", "name_not_utf8")
    assert rejected.message.encode()


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    reasons = []
    for videos in (tmp_path, tmp_path / "no", tmp_path / "*.mp4", tmp_path / "no.csv"):
        with pytest.raises(InputError) as caught:
            list(list_videos(str(videos)))
        reasons.append(caught.value.reason)
    assert reasons == ["no_videos", "not_found", "not_found", "not_found"]


@needs_data
def test_the_shared_videos_are_all_listed() -> None:
    folder = DATA / "videos"
    assert references(str(folder)) == sorted(path.name for path in folder.iterdir())


# --- manifest ------------------------------------------------------------------------

FULL = VideoMetadata(2000, 62.5, date(2020, 2, 29), True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "m.csv",
            "Video_ID,Path,Views,Duration,Upload_Date,Safe\n"
            "v1,a/b.mp4,2000,62.5,2020-02-29,yes\n",
        ),
        (
            "m.tsv",
            "youtube_id\tfilename\tviewcount\tlength\tpublished_at\tnsfw\n"
            "v1\ta/b.mp4\t2000.0\t0:01:02.5\t20200229\t0\n",
        ),
        (
            "m.jsonl",
            '{"id":"v1","uri":"a/b.mp4","view_count":2000,"duration_s":"PT1M2.5S",'
            '"uploaded":"2020-02-29T23:00:00Z","is_nsfw":false}\n',
        ),
    ],
)
def test_manifests_in_every_text_format(tmp_path: Path, name: str, text: str) -> None:
    uri = write(tmp_path / name, text)
    video = Video("v1", "a/b.mp4", str(tmp_path / "a/b.mp4"))
    assert list(list_videos(uri)) == [VideoEntry(video, FULL)]


def test_parquet_manifest_with_missing_values(tmp_path: Path) -> None:
    columns = {
        "video": ["a.mp4", "gs://b/c.mp4"],
        "view_count": pa.array([2000, None], pa.float64()),
        "duration": pa.array([62.5, float("nan")]),
        "upload_date": pa.array([date(2020, 2, 29), None]),
        "unsafe": pa.array([False, None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    first, second = list_videos(str(tmp_path / "m.parquet"))
    assert isinstance(first, VideoEntry) and first.metadata == FULL
    assert second == VideoEntry(
        Video(video_id_of("gs://b/c.mp4"), "gs://b/c.mp4", "gs://b/c.mp4"),
        VideoMetadata(),
    )


def test_bad_rows_fail_alone(tmp_path: Path) -> None:
    rows = [
        "a,1.mp4,5,10,2020-01-01,1",
        "b, ,5,10,2020-01-01,1",
        "c,3.mp4,many,10,2020-01-01,1",
        "d,4.mp4,5,-1,2020-01-01,1",
        "e,5.mp4,5,10,last week,1",
        "f,6.mp4,5,10,2020-01-01,perhaps",
        "a,7.mp4,5,10,2020-01-01,1",
        "h,8.mp4",
        ",9.mp4,,,,",
        ",9.mp4,,,,",
    ]
    header = "id,path,views,duration,upload_date,safe"
    uri = write(tmp_path / "m.csv", "\n".join([header, *rows]))
    entries, rejected = listed(uri)
    assert [entry.video.reference for entry in entries] == ["1.mp4", "9.mp4"]
    assert entries[1].video.video_id == video_id_of("9.mp4")
    assert [(item.key, item.reason) for item in rejected] == [
        (f"{uri}:2", "missing_path"),
        ("3.mp4", "bad_metadata"),
        ("4.mp4", "bad_metadata"),
        ("5.mp4", "bad_metadata"),
        ("6.mp4", "bad_metadata"),
        ("7.mp4", "duplicate_video"),
        (f"{uri}:8", "wrong_cell_count"),
        ("9.mp4", "duplicate_video"),
    ]
    assert "column views" in rejected[1].message and "'many'" in rejected[1].message
    assert len(entries) + len(rejected) == len(rows)


def test_unsafe_in_one_of_two_columns_is_unsafe(tmp_path: Path) -> None:
    uri = write(tmp_path / "m.csv", "path,safe,nsfw\na,1,1\nb,1,0\nc,,1\nd,0,\ne,,\n")
    entries, _ = listed(uri)
    assert [e.metadata.safe for e in entries] == [False, True, False, False, None]


def test_manifest_without_a_path_column_is_refused(tmp_path: Path) -> None:
    uri = write(tmp_path / "m.csv", "id,views\nx,1\n")
    with pytest.raises(InputError) as caught:
        list(list_videos(uri))
    assert caught.value.reason == "missing_column"
    assert "id, views" in caught.value.message


@needs_data
def test_a_real_webvid_manifest() -> None:
    entries, rejected = listed(str(DATA / "tables" / "v2d_test_webvid.csv"))
    assert entries[0].video.video_id == "1053841541"
    assert entries[0].video.uri.startswith("https://ak.picdn.net/shutterstock/videos/")
    assert entries[0].metadata == VideoMetadata(duration_s=17.0)
    assert {item.reason for item in rejected} <= {"duplicate_video"}
    assert all(entry.metadata.duration_s for entry in entries)


# --- values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1200.5", 1200.5),
        ("PT00H00M17S", 17),
        ("P1DT2H3M4.5S", 93784.5),
        ("pt5m", 300),
        ("2:05", 125),
        ("90:00", 5400),
        ("1:02:03.25", 3723.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["-1", "inf", "PT", "P", "1:2:3:4", "5 min", "1:2"])
def test_durations_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration_s(text)


@pytest.mark.parametrize(
    "text",
    [
        "2020-02-29",
        "20200229",
        "20200229.0",
        "2020-02-29 13:00:00",
        "2020-02-29T23:59:59Z",
        "2020-03-01T01:00:00+02:00",
        "1582977600",
        "1582977600.0",
    ],
)
def test_dates(text: str) -> None:
    assert parse_date(text) == date(2020, 2, 29)


@pytest.mark.parametrize("text", ["2020", "2021-02-29", "29.02.2020", "1582977600000"])
def test_dates_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError):
        parse_date(text)


def test_counts() -> None:
    texts = ("0", "1001", "1000.0", "12345678901234567890", "1e6")
    counts = [0, 1001, 1000, 12345678901234567890, 1_000_000]
    assert [parse_count(text) for text in texts] == counts
    for text in ("-1", "1.5", "inf", "1,000", "many"):
        with pytest.raises((ValueError, OverflowError)):
            parse_count(text)


def test_safety_words() -> None:
    assert [parse_safe(text) for text in ("TRUE", "1.0", "no", "unsafe")] == [
        True,
        True,
        False,
        False,
    ]
    as_nsfw = [parse_safe(text, yes=False) for text in ("y", "0", "NSFW", "sfw")]
    assert as_nsfw == [False, True, False, True]
    with pytest.raises(ValueError):
        parse_safe("UNLIKELY")
