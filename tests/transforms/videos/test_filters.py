from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from clipseed.elements import Video
from clipseed.errors import InputError
from transforms.videos.filters import (
    FilterConfig,
    filter_reason,
    read_denylist,
    years_before,
)
from transforms.videos.manifest import VideoEntry, VideoMetadata

AS_OF = date(2024, 7, 1)


def entry(uri: str = "a.mp4", video_id: str = "v", **metadata: Any) -> VideoEntry:
    return VideoEntry(Video(video_id, uri, uri), VideoMetadata(**metadata))


def reason(video: VideoEntry, **config: Any) -> str | None:
    rejected = filter_reason(video, FilterConfig(**{"as_of": AS_OF, **config}))
    return rejected and rejected.reason


def test_a_video_without_metadata_passes() -> None:
    assert reason(entry()) is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"view_count": 1000}, "view_count"),
        ({"view_count": 1001}, None),
        ({"view_count": 0}, "view_count"),
        ({"duration_s": 1200.0}, "duration"),
        ({"duration_s": 1199.999}, None),
        ({"upload_date": AS_OF - timedelta(days=90)}, None),
        ({"upload_date": AS_OF - timedelta(days=89)}, "too_recent"),
        ({"upload_date": AS_OF + timedelta(days=1)}, "too_recent"),
        ({"upload_date": date(2014, 7, 1)}, None),
        ({"upload_date": date(2014, 6, 30)}, "too_old"),
        ({"safe": False}, "content_safety"),
        ({"safe": True}, None),
    ],
)
def test_the_papers_limits(metadata: dict[str, Any], expected: str | None) -> None:
    assert reason(entry(**metadata)) == expected


@pytest.mark.parametrize(
    ("as_of", "uploaded", "expected"),
    [
        (date(2024, 2, 29), date(2014, 2, 28), None),
        (date(2024, 2, 29), date(2014, 2, 27), "too_old"),
        (date(2022, 2, 28), date(2012, 2, 29), None),
        (date(2022, 2, 28), date(2012, 2, 28), None),
        (date(2022, 3, 1), date(2012, 2, 29), "too_old"),
    ],
)
def test_ten_years_around_29_february(
    as_of: date, uploaded: date, expected: str | None
) -> None:
    assert reason(entry(upload_date=uploaded), as_of=as_of) == expected


def test_years_before_a_leap_day_and_before_the_calendar() -> None:
    assert years_before(date(2024, 2, 29), 4) == date(2020, 2, 29)
    assert years_before(date(2024, 2, 29), 5000) == date(1, 2, 28)


def test_each_filter_can_be_turned_off() -> None:
    old = entry(view_count=0, duration_s=1e6, upload_date=date(1990, 1, 1), safe=False)
    new = old._replace(metadata=old.metadata._replace(upload_date=AS_OF))
    off: dict[str, Any] = {
        "min_view_count": None,
        "max_duration_s": None,
        "max_age_years": None,
        "min_age_days": None,
        "require_safe": False,
    }
    assert reason(old, **off) is None and reason(new, **off) is None
    on = {
        "min_view_count": (old, 1000, "view_count"),
        "max_duration_s": (old, 1200, "duration"),
        "max_age_years": (old, 10, "too_old"),
        "min_age_days": (new, 90, "too_recent"),
        "require_safe": (old, True, "content_safety"),
    }
    for name, (video, value, expected) in on.items():
        assert reason(video, **{**off, name: value}) == expected


def test_the_message_has_value_and_limit() -> None:
    config = FilterConfig(as_of=AS_OF)
    few = filter_reason(entry("x.mp4", view_count=7), config)
    assert few is not None
    assert few[:3] == ("filter_videos", "x.mp4", "view_count")
    assert "7 views" in few.message and "1000" in few.message
    old = filter_reason(entry(upload_date=date(2000, 1, 2)), config)
    assert old is not None
    assert "2000-01-02" in old.message and "2014-07-01" in old.message


def test_denied_ids_come_first() -> None:
    deny = frozenset({"bad"})
    assert reason(entry(video_id="bad", view_count=1), deny_ids=deny) == "denied_id"
    assert reason(entry(video_id="good"), deny_ids=deny) is None


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://example.com/v.mp4", "denied_host"),
        ("http://CDN.Example.com.:8080/v.mp4", "denied_host"),
        ("https://good.org@example.com/v.mp4", "denied_host"),
        ("https://notexample.com/v.mp4", None),
        ("https://example.com.good.org/v.mp4", None),
        ("https://good.org/example.com/v.mp4", None),
        ("/videos/example.com/v.mp4", None),
        ("https://[broken/v.mp4", None),
    ],
)
@pytest.mark.parametrize("denied", ["example.com", "*.Example.com", ".example.com."])
def test_denied_hosts_and_their_subdomains(
    uri: str, expected: str | None, denied: str
) -> None:
    deny = frozenset({denied, "*"})
    assert reason(entry(uri=uri), deny_hosts=deny) == expected


def test_denylist_files(tmp_path: Path) -> None:
    path = tmp_path / "deny.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\n# a comment\n  two # why\nthree#3\n")
    assert read_denylist(str(path)) == {"one", "two", "three#3"}


def test_a_denylist_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deny.txt"
    path.write_bytes(b"ok\n\xff\n")
    with pytest.raises(InputError) as caught:
        read_denylist(str(path))
    assert caught.value.reason == "not_utf8"
    with pytest.raises(InputError) as caught:
        read_denylist(str(tmp_path / "none.txt"))
    assert caught.value.reason == "not_found"
