"""The videos of a corpus that were uploaded on one day, as a manifest to mine.

    day = uploads_of("gs://bucket/corpus.csv", date(2026, 1, 1))
    write_manifest(day.entries, "gs://bucket/mined/manifests/2026-01-01.csv")

Ids are those of the corpus, or the hashes that mining the corpus would use; videos have
absolute addresses, so that the manifest may be in any folder.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from clipseed.errors import DeadLetter, InputError
from clipseed.io import storage
from transforms.videos.manifest import VideoEntry, list_videos

_COLUMNS = ("video", "id", "view_count", "duration", "upload_date", "safe")
_DEAD_LETTERS_KEPT = 5


@dataclass(frozen=True)
class Uploads:
    """The uploads of a day; every row of the corpus is counted once.

    Attributes:
        entries: the videos of the day, in the order of the corpus.
        counts: rows: `listed`, `other_days`, `undated`, `rejected/REASON`.
        dead_letters: the first rows that could not be read, so have no day.
    """

    entries: list[VideoEntry]
    counts: dict[str, int]
    dead_letters: list[DeadLetter]


def uploads_of(videos: str, day: date) -> Uploads:
    """Pick a day's uploads from a corpus.

    Args:
        videos: a manifest with upload dates (see `transforms.videos.manifest`).
        day: in UTC.

    Raises:
        InputError: `missing_upload_date` if no video has one; those of `list_videos`.
    """
    entries: list[VideoEntry] = []
    dead_letters: list[DeadLetter] = []
    counts: Counter[str] = Counter()
    for item in list_videos(videos):
        if isinstance(item, DeadLetter):
            counts[f"rejected/{item.reason}"] += 1
            dead_letters += [item] if len(dead_letters) < _DEAD_LETTERS_KEPT else []
        elif item.metadata.upload_date is None:
            counts["undated"] += 1
        elif item.metadata.upload_date == day:
            entries.append(item)
        else:
            counts["other_days"] += 1
    counts["listed"] = len(entries)
    if counts["undated"] and not entries and not counts["other_days"]:
        raise InputError(
            "missing_upload_date",
            f"no video of {videos} has an upload date; add a column upload_date "
            "(2026-01-31) to the manifest",
        )
    return Uploads(entries, dict(sorted(counts.items())), dead_letters)


def write_manifest(entries: Sequence[VideoEntry], uri: str) -> None:
    """Write a manifest that `list_videos` reads back, atomically."""
    with (
        storage.writing(uri) as path,
        open(path, "w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_COLUMNS)
        rows.writerows(_row(entry) for entry in entries)


def _row(entry: VideoEntry) -> tuple[object, ...]:
    """Return the cells in the order of the columns; None becomes an empty cell."""
    known = entry.metadata
    return (
        entry.video.uri,
        entry.video.video_id,
        known.view_count,
        known.duration_s,
        known.upload_date,
        known.safe,
    )
