"""Objects that come in pieces, from a bucket that answers badly."""

import os
from pathlib import Path

import pytest

from clipseed.errors import InputError
from clipseed.io import gcs, storage
from clipseed.io.gcs import copy_object
from tests.support.servers.unruly_proxy import unruly

FILM = os.urandom(100_000)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs, "_PIECE_BYTES", 30_000)


@pytest.mark.parametrize("trouble", ["well", "busy", "too_many", "cut", "lost"])
def test_every_piece_may_be_in_trouble_once(
    bucket: str, trouble: str, tmp_path: Path
) -> None:
    storage.write_bytes(f"{bucket}/film.mp4", FILM)
    sizes: list[int] = []
    with unruly(lambda _: trouble) as proxy:
        copy_object(f"{bucket}/film.mp4", str(tmp_path / "x"), sizes.append)
    assert (tmp_path / "x").read_bytes() == FILM
    assert sizes == [len(FILM)]
    assert proxy.troubles[trouble] >= 5  # What it is, and four pieces.
    times = 2 if trouble in ("cut", "lost") else 1
    (served,) = (n for (_, path), n in proxy.served.items() if "download" in path)
    assert served == 4 * times


def test_an_empty_object(bucket: str, tmp_path: Path) -> None:
    storage.write_bytes(f"{bucket}/empty", b"")
    copy_object(f"{bucket}/empty", str(tmp_path / "x"))
    assert (tmp_path / "x").read_bytes() == b""


def test_what_is_replaced_on_the_way_is_not_mixed(bucket: str, tmp_path: Path) -> None:
    uri = f"{bucket}/replaced"
    storage.write_bytes(uri, FILM)
    with pytest.raises(InputError, match="unreadable"):
        copy_object(
            uri,
            str(tmp_path / "x"),
            lambda size: storage.write_bytes(uri, os.urandom(size)),
        )


def test_what_does_not_pass_is_refused_in_the_end(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes(f"{bucket}/film.mp4", FILM)
    monkeypatch.setattr("google.cloud.storage.retry.DEFAULT_RETRY._timeout", 0.5)
    with (
        unruly(lambda _: "busy", always=True) as proxy,
        pytest.raises(InputError, match="503") as caught,
    ):
        copy_object(f"{bucket}/film.mp4", str(tmp_path / "x"))
    assert caught.value.reason == "unreadable"
    assert proxy.troubles["busy"] > 2


@pytest.mark.parametrize("trouble", ["busy", "too_many", "cut", "lost"])
@pytest.mark.parametrize("size_bytes", [100_000, 9_000_000], ids=["whole", "resumable"])
def test_every_request_of_an_upload_may_be_in_trouble_once(
    bucket: str, trouble: str, size_bytes: int, tmp_path: Path
) -> None:
    data = os.urandom(size_bytes)
    (tmp_path / "shard").write_bytes(data)
    with unruly(lambda _: trouble) as proxy:
        storage.publish(str(tmp_path / "shard"), f"{bucket}/shard")
        assert proxy.troubles[trouble] >= 1 + (size_bytes > 8 * 2**20)
    assert storage.read_bytes(f"{bucket}/shard", size_bytes) == data
