"""One suite for both backends: a local folder, and a bucket of the GCS emulator."""

import os
from pathlib import Path

import pytest

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.io.listing import list_files


def fill(root: str, *names: str) -> None:
    for name in names:
        storage.write_bytes(f"{root}/{name}", name.encode())


def listed(root: str, pattern: str = "") -> list[str]:
    found = list_files(root + pattern)
    assert all(name.startswith(root + "/") for name in found)
    return [name.removeprefix(root + "/") for name in found]


def reason(pattern: str) -> str:
    with pytest.raises(InputError) as caught:
        list_files(pattern)
    return caught.value.reason


def test_listing_is_recursive_sorted_and_skips_hidden(root: str) -> None:
    fill(root, "b.mp4", "a/z.mp4", "a/c/y.txt", ".hidden", ".git/x.mp4", "a/.t/x.mp4")
    assert listed(root) == ["a/c/y.txt", "a/z.mp4", "b.mp4"]
    assert list_files(root + "/") == list_files(root)
    assert list_files(f"{root}/b.mp4") == [f"{root}/b.mp4"]


def test_a_folder_is_not_its_namesakes(root: str) -> None:
    fill(root, "run/a", "run-2/b", "runner")
    assert listed(root, "/run") == ["run/a"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/*.mp4", ["b.mp4"]),
        ("/**/*.mp4", ["a/c/y.mp4", "a/z.mp4", "b.mp4"]),
        ("/*/*.mp4", ["a/z.mp4"]),
        ("/a/**", ["a/c/y.mp4", "a/z.mp4", "a/z.txt"]),
        ("/a/**/y.*", ["a/c/y.mp4"]),
        ("/a/z.[tm]?[t4]", ["a/z.mp4", "a/z.txt"]),
    ],
)
def test_globs(root: str, pattern: str, expected: list[str]) -> None:
    fill(root, "b.mp4", "a/z.mp4", "a/z.txt", "a/c/y.mp4", "a/.x.mp4")
    assert listed(root, pattern) == expected


def test_nothing_to_list_is_told(root: str) -> None:
    fill(root, "a.mp4")
    assert reason(f"{root}/absent") == "not_found"
    assert reason(f"{root}/*.avi") == "not_found"
    assert reason(f"{root}/absent/*.avi") == "not_found"


def test_an_empty_local_folder_lists_nothing(tmp_path: Path) -> None:
    assert list_files(str(tmp_path)) == []


def test_names_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fill("videos", "a.mp4", "[1] b.mp4")
    assert list_files("videos") == ["videos/[1] b.mp4", "videos/a.mp4"]
    assert list_files("**/a*") == ["videos/a.mp4"]
    assert list_files("videos/[1] b.mp4") == ["videos/[1] b.mp4"]


def test_links_are_followed_once_and_broken_ones_are_told(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    fill(str(tmp_path), "corpus/a/1.mp4", "elsewhere/2.mp4")
    (root / "a" / "up").symlink_to(root)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "itself").symlink_to("itself")
    (root / "broken.mp4").symlink_to("absent.mp4")
    os.mkfifo(root / "pipe.mp4")
    names = listed(str(root))
    assert names == ["a/1.mp4", "broken.mp4", "itself", "linked/2.mp4"]
    with pytest.raises(InputError, match="not_found"):
        storage.read_bytes(str(root / "broken.mp4"), 9)
    assert listed(str(root), "/**/*.mp4") == ["a/1.mp4", "broken.mp4", "linked/2.mp4"]


@pytest.mark.parametrize("uri", ["file:///etc", "s3://b/x", "http://h/x"])
def test_other_schemes_are_refused(uri: str) -> None:
    assert reason(uri) == "unsupported_scheme"


def test_no_such_bucket(bucket: str) -> None:
    assert reason("gs://no-such-bucket/x") == "not_found"
