"""One suite for both backends: a local folder, and a bucket of the GCS emulator."""

import csv
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.io.gcs import input_errors
from clipseed.io.listing import list_files


def fill(root: str, *names: str) -> None:
    for name in names:
        storage.write_bytes(f"{root}/{name}", name.encode())


def reason(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return caught.value.reason


@pytest.mark.parametrize(
    ("where", "reference", "expected"),
    [
        ("data", "a/1.jpg", "data/a/1.jpg"),
        ("/data", "/other/1.jpg", "/other/1.jpg"),
        ("/data", "https://host/1.jpg", "https://host/1.jpg"),
        ("gs://b", "1.jpg", "gs://b/1.jpg"),
        ("gs://b/seeds/", "img/1.jpg", "gs://b/seeds/img/1.jpg"),
        ("gs://b/seeds", "../img/./1.jpg", "gs://b/img/1.jpg"),
        ("gs://b/seeds", "gs://c/1.jpg", "gs://c/1.jpg"),
        ("gs://b/seeds", "/local/1.jpg", "/local/1.jpg"),
        ("", "1.jpg", "1.jpg"),
    ],
)
def test_join(where: str, reference: str, expected: str) -> None:
    assert storage.join(where, reference) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("a/b.csv", "a"),
        ("b.csv", "."),
        ("/b.csv", "/"),
        ("gs://bucket/a/b.csv", "gs://bucket/a"),
        ("gs://bucket/b.csv", "gs://bucket"),
        ("gs://bucket", "gs://bucket"),
    ],
)
def test_parent(uri: str, expected: str) -> None:
    assert storage.parent(uri) == expected


def test_is_remote() -> None:
    assert storage.is_remote("gs://b/x") and storage.is_remote("https://h/x")
    assert not storage.is_remote("/x/gs://y") and not storage.is_remote("a:b")


def test_exists(root: str) -> None:
    fill(root, "run/run.json", "run-2")
    assert storage.exists(f"{root}/run/run.json")
    assert storage.exists(f"{root}/run")
    assert storage.exists(f"{root}/run/")
    assert not storage.exists(f"{root}/ru")
    assert not storage.exists(f"{root}/run/absent")


def test_bytes_come_back_up_to_the_limit(root: str) -> None:
    data = bytes(range(256)) * 40
    storage.write_bytes(f"{root}/x", data)
    assert storage.read_bytes(f"{root}/x", len(data)) == data
    assert reason(storage.read_bytes, f"{root}/x", len(data) - 1) == "too_large"
    assert reason(storage.read_bytes, f"{root}/absent", 9) == "not_found"
    assert reason(storage.read_bytes, f"{root}/x/below", 9) == "not_found"


def test_an_empty_file(root: str) -> None:
    storage.write_bytes(f"{root}/empty", b"")
    assert storage.read_bytes(f"{root}/empty", 0) == b""
    with storage.localize(f"{root}/empty") as path:
        assert os.path.getsize(path) == 0


def test_ranges(root: str) -> None:
    storage.write_bytes(f"{root}/x.tar", b"0123456789")
    assert storage.read_range(f"{root}/x.tar", 3, 4) == b"3456"
    assert storage.read_range(f"{root}/x.tar", 9, 1) == b"9"
    assert storage.read_range(f"{root}/x.tar", 5, 0) == b""
    assert reason(storage.read_range, f"{root}/x.tar", 8, 4) == "unreadable"
    assert reason(storage.read_range, f"{root}/x.tar", 20, 4) == "unreadable"
    assert reason(storage.read_range, f"{root}/absent", 0, 4) == "not_found"


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    path = {"device": "/dev/zero", "folder": str(tmp_path)}.get(kind)
    if path is None:
        path = str(tmp_path / "pipe")
        os.mkfifo(path)  # opening it as any other file would wait forever
    assert reason(storage.read_bytes, path, 10) == "unreadable"
    assert reason(storage.read_range, path, 0, 10) == "unreadable"
    assert reason(storage.open_binary, path) == "unreadable"


def test_text_keeps_line_ends_and_survives_bytes_that_are_no_utf8(root: str) -> None:
    text = '\ufeffcaption,url\r\n"two\nlines",é\r\nbad '.encode() + b"\xff\xfe,x\r\n"
    storage.write_bytes(f"{root}/seeds.csv", text)
    with storage.open_text(f"{root}/seeds.csv") as file:
        rows = list(csv.reader(file))
    assert rows[:2] == [["caption", "url"], ["two\nlines", "é"]]
    with pytest.raises(UnicodeEncodeError):
        rows[2][0].encode()
    assert rows[2][0].encode(errors="surrogateescape") == b"bad \xff\xfe"


def test_streams(root: str) -> None:
    data = os.urandom(300_000)
    storage.write_bytes(f"{root}/x", data)
    with storage.open_binary(f"{root}/x") as file:
        assert file.read(1000) == data[:1000]
        assert file.read() == data[1000:]
    assert reason(storage.open_binary, f"{root}/absent") == "not_found"
    assert reason(storage.open_text, f"{root}/absent") == "not_found"


def test_localize_leaves_no_copy(root: str) -> None:
    storage.write_bytes(f"{root}/clip.mp4", b"moov")
    with storage.localize(f"{root}/clip.mp4") as path:
        assert path.endswith(".mp4")
        assert Path(path).read_bytes() == b"moov"
    assert os.path.exists(path) == (path == f"{root}/clip.mp4")
    assert storage.exists(f"{root}/clip.mp4")
    for absent in ("absent.mp4", "folder/absent.mp4"):
        with (
            pytest.raises(InputError, match="not_found"),
            storage.localize(f"{root}/{absent}"),
        ):
            pass


def test_a_copy_is_deleted_when_the_work_fails(bucket: str) -> None:
    storage.write_bytes(f"{bucket}/fails.mp4", b"moov")
    with (
        pytest.raises(ZeroDivisionError),
        storage.localize(f"{bucket}/fails.mp4") as path,
    ):
        raise ZeroDivisionError
    assert not os.path.exists(os.path.dirname(path))


def test_writing_appears_on_success_only(root: str) -> None:
    uri = f"{root}/clips/part-00000"
    with storage.writing(uri) as path:
        Path(path).write_bytes(b"first")
        assert not storage.exists(uri)
    with pytest.raises(ZeroDivisionError), storage.writing(uri) as path:
        Path(path).write_bytes(b"sec")
        raise ZeroDivisionError
    assert storage.read_bytes(uri, 99) == b"first"
    assert not os.path.exists(path)


def test_nothing_is_left_beside_a_written_file(tmp_path: Path) -> None:
    storage.write_bytes(f"{tmp_path}/x", b"1")
    storage.write_bytes(f"{tmp_path}/x", b"2")
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"2"
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask


def test_publish_moves_and_overwrites(root: str, tmp_path: Path) -> None:
    for data in (b"old", b"new" * 3_000_000):  # the second is uploaded in parts
        source = tmp_path / "finished"
        source.write_bytes(data)
        storage.publish(str(source), f"{root}/deep/down/x")
        assert not source.exists()
        assert storage.read_bytes(f"{root}/deep/down/x", len(data)) == data


def test_publish_across_file_systems(tmp_path: Path) -> None:
    shared_memory = Path("/dev/shm")
    if not os.access(shared_memory, os.W_OK):
        pytest.skip("needs a second file system at /dev/shm")
    if shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the temporary folder is itself in /dev/shm")
    source = shared_memory / f"clipseed-test-{os.getpid()}"
    source.write_bytes(b"far")
    storage.publish(str(source), f"{tmp_path}/x")
    assert not source.exists()
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"far"


def test_remove_tree(root: str) -> None:
    fill(root, "run/a", "run/b/c", "run-2", "file")
    storage.remove_tree(f"{root}/run")
    storage.remove_tree(f"{root}/file")
    storage.remove_tree(f"{root}/absent")
    assert list_files(root) == [f"{root}/run-2"]


def test_remove_tree_leaves_what_a_link_points_to(tmp_path: Path) -> None:
    fill(str(tmp_path), "kept/a")
    (tmp_path / "link").symlink_to("kept")
    storage.remove_tree(f"{tmp_path}/link")
    assert list_files(str(tmp_path)) == [f"{tmp_path}/kept/a"]


@pytest.mark.parametrize("uri", ["/", "//", "/..", "gs://seeds", "gs://seeds/"])
def test_remove_tree_refuses_to_empty_everything(bucket: str, uri: str) -> None:
    storage.write_bytes(f"{bucket}/precious", b"1")
    with pytest.raises(ValueError, match="refusing"):
        storage.remove_tree(uri)
    assert storage.exists(f"{bucket}/precious")


def test_what_cannot_be_read(tmp_path: Path, bucket: str) -> None:
    assert reason(storage.read_bytes, str(tmp_path), 9) == "unreadable"
    assert reason(storage.read_bytes, "gs://", 9) == "unreadable"
    assert reason(storage.read_bytes, bucket, 9) == "unreadable"
    assert reason(storage.read_bytes, "gs://no-such-bucket/x", 9) == "not_found"
    assert reason(storage.read_bytes, "nul\0.jpg", 9) == "unreadable"
    assert reason(storage.read_bytes, "\ud800.jpg", 9) == "unreadable"
    assert reason(storage.read_bytes, f"{bucket}/\ud800.jpg", 9) == "unreadable"
    assert reason(storage.read_bytes, "gs://a b/x", 9) in ("unreadable", "not_found")
    assert reason(storage.read_bytes, "x" * 5000, 9) == "unreadable"
    with pytest.raises(InputError, match="unreadable"), storage.localize(str(tmp_path)):
        pass


@pytest.mark.parametrize("uri", ["file:///etc/hostname", "s3://b/x", "http://h/x"])
def test_other_schemes_are_refused(uri: str) -> None:
    assert reason(storage.read_bytes, uri, 9) == "unsupported_scheme"
    assert reason(storage.write_bytes, uri, b"") == "unsupported_scheme"


def test_a_full_disk_is_not_the_inputs_fault() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with (
        pytest.raises(OSError, match="No space"),
        input_errors("/dev/full"),
        open("/dev/full", "wb") as file,
    ):
        file.write(b"x")


def test_a_full_disk_is_named_with_what_it_costs(root: str) -> None:
    with (
        pytest.raises(OSError, match="/shard cannot be written: the disk of"),
        storage.writing(f"{root}/shard"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not storage.exists(f"{root}/shard")


def test_local_work_does_not_load_the_cloud_library(tmp_path: Path) -> None:
    code = (
        "import sys; from clipseed.io import listing, storage;"
        f"storage.write_bytes({str(tmp_path / 'x')!r}, b'1');"
        f"listing.list_files({str(tmp_path)!r});"
        "assert 'google.cloud.storage' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
