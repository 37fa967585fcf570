"""The videos of a corpus: a folder, a glob, one file, or a manifest with metadata.

    for entry in list_videos("corpus.csv"): ...  # VideoEntry or DeadLetter

Only the manifest is opened; whether a file is a video is left to the probe.
"""

import logging
import math
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar

from clipseed.elements import Video
from clipseed.errors import DeadLetter, InputError
from clipseed.hashing import content_id
from clipseed.io.listing import list_files
from clipseed.io.storage import join, parent
from clipseed.io.tables import (
    BadRow,
    Row,
    find_column,
    read_columns,
    read_rows,
    require_column,
    table_format,
)

_LOG = logging.getLogger(__name__)
_STAGE = "list_videos"
_PATH = ("video", "path", "uri", "url", "file", "filename", "video_path", "video_url")
_WEBVID_PATH = "contenturl"
_ID = ("id", "video_id", "videoid", "youtube_id")
_VIEWS = ("view_count", "views", "viewcount")
_DURATION = ("duration", "duration_s", "length_s", "length")
_DATE = ("upload_date", "uploaded", "publish_date", "published_at", "upload_time")
_SAFE = ("safe", "content_safe", "is_safe", "safety")
_UNSAFE = ("unsafe", "nsfw", "is_nsfw")
_TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".gz")
_TEXTS_AND_IMAGES = (".txt", ".md", ".vtt", ".srt", ".jpg", ".jpeg", ".png")
_SIDECARS = frozenset(_TABLES + _TEXTS_AND_IMAGES)
_MISSING = frozenset(("", "nan", "none", "null", "nat"))  # as pandas writes them
_TRUE = frozenset(("true", "t", "yes", "y", "1", "1.0"))
_FALSE = frozenset(("false", "f", "no", "n", "0", "0.0"))
_SAFE_WORDS = {"safe": True, "sfw": True, "unsafe": False, "nsfw": False}
_ISO_DURATION = re.compile(
    r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE
)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)")
_EPOCH_S = re.compile(r"\d{9,11}(\.\d+)?")  # shorter ones could be a year or a day

_Value = TypeVar("_Value")


class VideoMetadata(NamedTuple):
    """A manifest's metadata of a video; None for values that it does not have.

    Attributes:
        upload_date: the day of upload, in UTC if the manifest has a time.
        safe: the content-safety flag; False means not safe.
    """

    view_count: int | None = None
    duration_s: float | None = None
    upload_date: date | None = None
    safe: bool | None = None


class VideoEntry(NamedTuple):
    """A video of the corpus and its metadata."""

    video: Video
    metadata: VideoMetadata


def list_videos(videos: str) -> Iterator[VideoEntry | DeadLetter]:
    """Yield every video of a corpus once, and a dead letter for each unusable entry.

    Args:
        videos: a folder (searched recursively), a glob, a manifest (CSV, TSV, JSONL,
            Parquet), or one video, by path or URI.

    Raises:
        InputError: before the first video: `no_videos`, `missing_column`, and those of
            `read_columns`.
    """
    seen: set[str] = set()
    found = _from_manifest if table_format(videos) else _from_files
    for item in found(videos):
        if isinstance(item, DeadLetter):
            yield item
        elif item.video.video_id in seen:
            yield duplicate(item.video)
        else:
            seen.add(item.video.video_id)
            yield item


def duplicate(video: Video) -> DeadLetter:
    """Return the dead letter of a video whose id another one has already."""
    message = f"an earlier video has the id {video.video_id}; make ids distinct"
    return DeadLetter(_STAGE, video.reference, "duplicate_video", message)


def video_id_of(reference: str) -> str:
    """Return the id of a video without one in the manifest: a hash of its name."""
    return content_id(reference)


# --- folder, glob, file --------------------------------------------------------------


def _from_files(videos: str) -> Iterator[VideoEntry | DeadLetter]:
    is_web = videos.startswith(("http://", "https://"))
    uris = [videos] if is_web else list_files(videos)
    if not uris:
        raise InputError(
            "no_videos", f"{videos} holds no files; name a folder of videos"
        )
    root = "" if is_web else fixed_root(videos)
    sidecars = 0
    for uri in uris:
        name = os.path.basename(uri) if uri == root else uri.removeprefix(root)
        if uri != videos and posixpath.splitext(name)[1].lower() in _SIDECARS:
            sidecars += 1
        else:
            yield _file_entry(uri, name.lstrip("/"))
    if os.path.isdir(videos):
        yield from _special_files(videos)
    _LOG.info("%s: ignored %d files that are not videos", videos, sidecars)


def fixed_root(pattern: str) -> str:
    """Return the part of a folder or glob that precedes the names in the corpus.

    For example, it is `a/b` for both `a/b/*.mp4` and `a/b`.
    """
    wildcard = re.search(r"[*?\[]", pattern)
    if wildcard is None or os.path.isdir(pattern):
        return pattern
    return pattern[: pattern.rfind("/", 0, wildcard.start()) + 1]


def _file_entry(uri: str, name: str) -> VideoEntry | DeadLetter:
    """Make an entry of one file; `name` is its path within the corpus."""
    reference = _printable(name)
    if _printable(uri) != uri:
        message = "the name is not UTF-8 and cannot be recorded; rename the file"
        return DeadLetter(_STAGE, reference, "name_not_utf8", message)
    return VideoEntry(Video(video_id_of(reference), reference, uri), VideoMetadata())


def _special_files(folder: str) -> Iterator[DeadLetter]:
    """Yield what is neither file nor folder: opening a pipe could wait forever."""
    for parent_folder, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (os.path.join(parent_folder, name) for name in sorted(names)):
            is_hidden = os.path.basename(path).startswith(".")
            if not (is_hidden or os.path.isfile(path)) and os.path.exists(path):
                key = _printable(os.path.relpath(path, folder))
                message = "it is a pipe, socket or device; move it out of the folder"
                yield DeadLetter(_STAGE, key, "not_a_regular_file", message)


def _printable(name: str) -> str:
    """Escape the bytes of a file name that are not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")


# --- manifest -----------------------------------------------------------------------


class _Columns(NamedTuple):
    """The columns of a manifest; None for those that it does not have."""

    path: str
    id: str | None
    view_count: str | None
    duration: str | None
    upload_date: str | None
    safe: str | None
    unsafe: str | None


def _from_manifest(uri: str) -> Iterator[VideoEntry | DeadLetter]:
    names = read_columns(uri)
    others = (_ID, _VIEWS, _DURATION, _DATE, _SAFE, _UNSAFE)
    columns = _Columns(
        require_column(uri, names, "video", (*_PATH, _WEBVID_PATH)),
        *(find_column(names, aliases) for aliases in others),
    )
    for row in read_rows(uri, only=[name for name in columns if name]):
        yield _manifest_entry(uri, row, columns)


def _manifest_entry(
    uri: str, row: Row | BadRow, columns: _Columns
) -> VideoEntry | DeadLetter:
    place = f"{uri}:{row.number}"
    if isinstance(row, BadRow):
        return DeadLetter(_STAGE, place, row.reason, row.message)
    reference = row.cells.get(columns.path, "").strip()
    if not reference:
        message = f"the row is empty in column {columns.path}; name a video"
        return DeadLetter(_STAGE, place, "missing_path", message)
    try:
        metadata = _metadata(row, columns)
    except InputError as error:
        return DeadLetter(_STAGE, reference, error.reason, error.message)
    own_id = row.cells.get(columns.id or "", "").strip()
    video_id = own_id or video_id_of(reference)
    return VideoEntry(
        Video(video_id, reference, join(parent(uri), reference)), metadata
    )


def _metadata(row: Row, columns: _Columns) -> VideoMetadata:
    safe = _value(row, columns.safe, parse_safe)
    not_unsafe = _value(row, columns.unsafe, lambda text: parse_safe(text, yes=False))
    verdicts = {safe, not_unsafe} - {None}
    return VideoMetadata(
        view_count=_value(row, columns.view_count, parse_count),
        duration_s=_value(row, columns.duration, parse_duration_s),
        upload_date=_value(row, columns.upload_date, parse_date),
        safe=False not in verdicts if verdicts else None,
    )


def _value(
    row: Row, column: str | None, parse: Callable[[str], _Value]
) -> _Value | None:
    """Return the value of a cell, None if it is empty or missing.

    Raises:
        InputError: `bad_metadata`, with the column and the value.
    """
    text = row.cells.get(column or "", "").strip()
    if text.lower() in _MISSING:
        return None
    try:
        return parse(text)
    except (ValueError, OverflowError):
        message = f"column {column}: cannot parse {text[:80]!r}; correct or empty it"
        raise InputError("bad_metadata", message) from None


# --- values: ValueError or OverflowError for text that cannot be parsed -------------


def parse_count(text: str) -> int:
    """Parse a count; pandas writes 1000.0 in columns with missing values."""
    count = int(text) if text.isdecimal() else float(text)
    if count < 0 or count != int(count):
        raise ValueError(text)
    return int(count)


def parse_duration_s(text: str) -> float:
    """Parse seconds, [H:]MM:SS, or ISO 8601 (PT1H2M3S); return seconds."""
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = clock.groups(default="0")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if (iso := _ISO_DURATION.fullmatch(text)) and any(iso.groups()):
        days, hours, minutes, seconds = iso.groups(default="0")
        whole_minutes = (int(days) * 24 + int(hours)) * 60 + int(minutes)
        return whole_minutes * 60 + float(seconds)
    seconds_alone = float(text)
    if not 0 <= seconds_alone < math.inf:
        raise ValueError(text)
    return seconds_alone


def parse_date(text: str) -> date:
    """Parse an ISO date or time, YYYYMMDD, or seconds since 1970; return a UTC day."""
    if _EPOCH_S.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC).date()
    moment = datetime.fromisoformat(text.removesuffix(".0"))
    return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()


def parse_safe(text: str, yes: bool = True) -> bool:
    """Parse a safety flag; return whether the video is safe.

    Args:
        text: yes or no in the usual spellings, or words such as "safe" and "nsfw".
        yes: the meaning of yes; False for columns such as `nsfw`.
    """
    word = text.lower()
    if word in _SAFE_WORDS:
        return _SAFE_WORDS[word]
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return (word in _TRUE) == yes
