"""The paper's filters on a video's metadata, and denylists.

Source: VideoCC paper, section 3 (view count, length, age, content safety). A filter
applies only where the metadata has the value: a folder of files passes them all.
"""

import io
import re
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from urllib.parse import urlsplit

from clipseed.errors import DeadLetter, InputError
from clipseed.io.storage import open_binary
from transforms.videos.manifest import VideoEntry

_STAGE = "filter_videos"
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class FilterConfig:
    """Which videos are mined; None disables a limit.

    Attributes:
        as_of: the day that ages are relative to.
        min_view_count: a video must have more views than this.
        max_duration_s: a video must be shorter than this.
        max_age_years: maximum age in calendar years, inclusive.
        min_age_days: minimum age in days, inclusive.
        require_safe: whether to drop videos whose metadata says that they are not safe.
        deny_ids: video ids that are never mined.
        deny_hosts: hosts that, like their subdomains, are never connected to.
    """

    as_of: date
    min_view_count: int | None = 1000
    max_duration_s: float | None = 1200.0
    max_age_years: int | None = 10
    min_age_days: int | None = 90
    require_safe: bool = True
    deny_ids: frozenset[str] = frozenset()
    deny_hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        bare = frozenset(_bare_host(host) for host in self.deny_hosts) - {""}
        object.__setattr__(self, "deny_hosts", bare)


class _Drop(NamedTuple):
    """The reason for which a filter drops a video, and the value that it found."""

    reason: str
    message: str


def filter_reason(entry: VideoEntry, config: FilterConfig) -> DeadLetter | None:
    """Return the dead letter of a video that is not to be mined, None for the others.

    Its reason is that of the first filter that drops the video: `denied_id`,
    `denied_host`, `view_count`, `duration`, `too_old`, `too_recent`, `content_safety`.
    """
    drop = _denied(entry, config) or _size(entry, config) or _age(entry, config)
    if drop is None and config.require_safe and entry.metadata.safe is False:
        drop = _Drop("content_safety", "the metadata says that the video is not safe")
    return drop and DeadLetter(_STAGE, entry.video.reference, *drop)


def read_denylist(uri: str) -> frozenset[str]:
    """Read ids or hosts, one per line; blank lines and comments after # are ignored.

    Raises:
        InputError: `not_utf8`.
    """
    with open_binary(uri) as raw, io.TextIOWrapper(raw, "utf-8-sig") as lines:
        try:
            entries = {_COMMENT.sub("", line).strip() for line in lines}
        except UnicodeDecodeError:
            message = f"{uri} is not UTF-8; save it as UTF-8"
            raise InputError("not_utf8", message) from None
    return frozenset(entries - {""})


def _denied(entry: VideoEntry, config: FilterConfig) -> _Drop | None:
    if entry.video.video_id in config.deny_ids:
        return _Drop("denied_id", f"id {entry.video.video_id} is on the denylist")
    labels = _host(entry.video.uri).split(".")
    for parent in (".".join(labels[i:]) for i in range(len(labels))):
        if parent in config.deny_hosts:
            return _Drop("denied_host", f"host {parent} is on the denylist")
    return None


def _host(uri: str) -> str:
    try:
        return _bare_host(urlsplit(uri).hostname or "")
    except ValueError:  # Not a URL; opening it fails with a reason of its own.
        return ""


def _bare_host(host: str) -> str:
    """Return `example.com` for `*.Example.com.` or `.example.com`."""
    return host.strip().lower().removeprefix("*").strip(".")


def _size(entry: VideoEntry, config: FilterConfig) -> _Drop | None:
    views, least = entry.metadata.view_count, config.min_view_count
    if views is not None and least is not None and views <= least:
        return _Drop("view_count", f"{views} views; the limit is {least}")
    seconds, most = entry.metadata.duration_s, config.max_duration_s
    if seconds is not None and most is not None and seconds >= most:
        return _Drop("duration", f"{seconds:g} s long; the limit is {most:g} s")
    return None


def _age(entry: VideoEntry, config: FilterConfig) -> _Drop | None:
    uploaded = entry.metadata.upload_date
    if uploaded is None:
        return None
    if config.max_age_years is not None:
        oldest = years_before(config.as_of, config.max_age_years)
        if uploaded < oldest:
            return _Drop("too_old", f"uploaded {uploaded}; the limit is {oldest}")
    age_days = (config.as_of - uploaded).days
    if config.min_age_days is not None and age_days < config.min_age_days:
        message = f"uploaded {uploaded}, {age_days} days before {config.as_of}"
        return _Drop("too_recent", f"{message}; the limit is {config.min_age_days}")
    return None


def years_before(day: date, years: int) -> date:
    """Return the same day `years` earlier; 29 February may become the 28th."""
    year = max(day.year - years, date.min.year)
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)
