"""The uploads of a day: all of them, under their ids, and nothing lost unsaid."""

from datetime import date
from pathlib import Path

import pytest
from day_manifest import uploads_of, write_manifest

from clipseed.errors import InputError
from clipseed.io import storage
from tests.support.daily.made_uploads import write_corpus
from transforms.videos.manifest import VideoEntry, list_videos, video_id_of

DAY = date(2026, 1, 1)


def test_a_days_uploads_are_picked_and_every_row_is_counted(tmp_path: Path) -> None:
    found = uploads_of(write_corpus(tmp_path / "corpus.csv"), DAY)
    ids = [entry.video.video_id for entry in found.entries]
    assert ids == ["a1", video_id_of("films/b.mp4"), "e1"]
    assert found.counts == {
        "listed": 3,
        "other_days": 2,  # the 2nd, and what was the 2nd in UTC
        "rejected/bad_metadata": 1,
        "rejected/duplicate_video": 1,
        "undated": 1,
    }
    assert [each.key for each in found.dead_letters] == ["films/g.mp4", "films/a2.mp4"]


def test_the_manifest_says_of_a_video_what_the_corpus_says(
    tmp_path: Path, root: str
) -> None:
    entries = uploads_of(write_corpus(tmp_path / "corpus.csv"), DAY).entries
    manifest = storage.join(root, "manifests/2026-01-01.csv")
    write_manifest(entries, manifest)
    read = [entry for entry in list_videos(manifest) if isinstance(entry, VideoEntry)]
    assert [entry.metadata for entry in read] == [entry.metadata for entry in entries]
    for before, after in zip(entries, read, strict=True):
        assert after.video.video_id == before.video.video_id
        assert after.video.uri == before.video.uri
    assert read[0].video.uri == str(tmp_path / "films/a.mp4")


def test_a_day_without_uploads_is_empty(tmp_path: Path) -> None:
    found = uploads_of(write_corpus(tmp_path / "corpus.csv"), date(2026, 1, 3))
    assert found.entries == [] and found.counts["other_days"] == 5


@pytest.mark.parametrize(
    "text", ["video\na.mp4\n", "video,upload_date\na.mp4,\nb.mp4,none\n"]
)
def test_a_corpus_without_dates_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        uploads_of(write_corpus(tmp_path / "corpus.csv", text), DAY)
    assert caught.value.reason == "missing_upload_date"
