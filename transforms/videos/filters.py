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
    """Which videos are mined; None turns a limit off.

    Attributes:
        as_of: the day from which ages are counted.
        min_view_count: a video needs more views than this.
        max_duration_s: a video has to be shorter than this.
        max_age_years: calendar years; a video of exactly this age is in.
        min_age_days: a video of exactly this age is in.
        require_safe: drop what the metadata says is not safe.
        deny_ids: video ids that are never mined.
        deny_hosts: hosts that are never opened, nor their subdomains.
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


class _Hit(NamedTuple):
    """The filter that drops a video, and the value it objects to."""

    reason: str
    message: str


def filter_reason(entry: VideoEntry, config: FilterConfig) -> DeadLetter | None:
    """Return the dead letter of a video that is not to be mined, None for the others.

    The first filter that objects gives the reason: `denied_id`, `denied_host`,
    `view_count`, `duration`, `too_old`, `too_recent`, `content_safety`.
    """
    hit = _denied(entry, config) or _size(entry, config) or _age(entry, config)
    if hit is None and config.require_safe and entry.metadata.safe is False:
        hit = _Hit("content_safety", "the metadata says that the video is not safe")
    return hit and DeadLetter(_STAGE, entry.video.reference, *hit)


def read_denylist(uri: str) -> frozenset[str]:
    """Read ids or hosts, one a line; blank lines and what follows a # are left out.

    Raises:
        InputError: `not_utf8`.
    """
    with open_binary(uri) as raw, io.TextIOWrapper(raw, "utf-8-sig") as lines:
        try:
            entries = {_COMMENT.sub("", line).strip() for line in lines}
        except UnicodeDecodeError:
            raise InputError("not_utf8", f"save {uri} as UTF-8") from None
    return frozenset(entries - {""})


def _denied(entry: VideoEntry, config: FilterConfig) -> _Hit | None:
    if entry.video.video_id in config.deny_ids:
        return _Hit("denied_id", f"id {entry.video.video_id} is on the denylist")
    labels = _host(entry.video.uri).split(".")
    for parent in (".".join(labels[i:]) for i in range(len(labels))):
        if parent in config.deny_hosts:
            return _Hit("denied_host", f"host {parent} is on the denylist")
    return None


def _host(uri: str) -> str:
    try:
        return _bare_host(urlsplit(uri).hostname or "")
    except ValueError:  # no host to deny; opening it will fail with its own reason
        return ""


def _bare_host(host: str) -> str:
    """`*.Example.com.` and `.example.com` mean `example.com`."""
    return host.strip().lower().removeprefix("*").strip(".")


def _size(entry: VideoEntry, config: FilterConfig) -> _Hit | None:
    views, least = entry.metadata.view_count, config.min_view_count
    if views is not None and least is not None and views <= least:
        return _Hit("view_count", f"{views} views; want more than {least}")
    seconds, most = entry.metadata.duration_s, config.max_duration_s
    if seconds is not None and most is not None and seconds >= most:
        return _Hit("duration", f"{seconds:g} s long; want less than {most:g} s")
    return None


def _age(entry: VideoEntry, config: FilterConfig) -> _Hit | None:
    uploaded = entry.metadata.upload_date
    if uploaded is None:
        return None
    if config.max_age_years is not None:
        oldest = years_before(config.as_of, config.max_age_years)
        if uploaded < oldest:
            return _Hit("too_old", f"uploaded {uploaded}; want {oldest} or later")
    age_days = (config.as_of - uploaded).days
    if config.min_age_days is not None and age_days < config.min_age_days:
        message = f"uploaded {uploaded}, {age_days} days before {config.as_of}"
        return _Hit("too_recent", f"{message}; want {config.min_age_days} or more")
    return None


def years_before(day: date, years: int) -> date:
    """Return the same day `years` earlier; 29 February may become the 28th."""
    year = max(day.year - years, date.min.year)
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)
