"""Bad input through the whole job: a clear reason, and nothing else is lost.

Each video shows a scene of its own, and there is a seed of each scene: what could be
used of a file is told by the pairs it gives.
"""

import csv
import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_media import (
    corrupt_from,
    encoded,
    film,
    overwrite,
    packet_places,
    png_bomb,
    still,
    tone,
    truncate,
    write_sound,
    write_video,
)
from PIL import Image

from beam_pipeline.mine import run
from transforms.clip_record import decode, read_records

TRICKY = 'she said "hi",\tthen\nleft\r\nnothing — ünïcödé, \'quoted\' "" '
KEYINT = {"x264-params": "keyint=10:scenecut=0"}

Make = Callable[[Path, int], object]


# --- videos: `make(path, scene)` writes a file that shows the scene -------------------


def plain(path: Path, scene: int, **options: Any) -> None:
    write_video(path, film(scene, 3), **options)


def truncated(path: Path, scene: int) -> None:
    plain(path, scene)
    truncate(path, 0.6)


def corrupt(path: Path, scene: int) -> None:
    """The scene stands in second 1 alone; from second 2 on there is noise."""
    parts = [film(scene + 100, 1), film(scene, 1), film(scene + 200, 3)]
    write_video(path, np.concatenate(parts), options=KEYINT)
    corrupt_from(path, 2.0)


def live(path: Path, scene: int) -> None:
    plain(path, scene, codec="libvpx", container_options={"live": "1"})


def title_not_utf8(path: Path, scene: int) -> None:
    plain(path, scene, title="name in latin letters")
    data = path.read_bytes()
    assert data.count(b"latin") == 1
    path.write_bytes(data.replace(b"latin", b"\xe4\xff\xfe\x80\xf6"))


def odd_size(path: Path, scene: int) -> None:
    frames = film(scene, 3, width=161, height=121)
    write_video(path, frames, pix_fmt="yuv444p")


def changing_size(path: Path, scene: int) -> None:
    """The scene shows after the size has changed."""
    before = write_video(path.with_suffix(".0.h264"), film(scene + 100, 2))
    wide = film(scene, 2, width=256, height=144)
    after = write_video(path.with_suffix(".1.h264"), wide)
    path.write_bytes(before.read_bytes() + after.read_bytes())


def broken_sound(path: Path, scene: int) -> None:
    plain(path, scene, sound=tone(3))
    places = [(at, size) for _, at, size in packet_places(path, "audio")]
    overwrite(path, places[len(places) // 2 :])


VIDEOS: dict[str, tuple[Make, str | None, bool]] = {
    # name: how it is made, the reason to be given for it, whether it gives a pair
    "good_a.mp4": (lambda p, s: plain(p, s, sound=tone(3)), None, True),
    "good_b.webm": (lambda p, s: plain(p, s, codec="libvpx"), None, True),
    "truncated_index_lost.mp4": (truncated, "not_a_video", False),
    "truncated.mkv": (truncated, "broken_video", True),
    "corrupt_from_2.mp4": (corrupt, "broken_video", True),
    "empty.mp4": (lambda p, _: p.touch(), "empty_file", False),
    "pipe.mp4": (lambda p, _: os.mkfifo(p), "unreadable", False),
    "missing.mp4": (lambda *_: None, "not_found", False),
    "audio_only.mp4": (lambda p, _: write_sound(p, tone(2)), "no_video_stream", False),
    "text.mp4": (lambda p, _: p.write_text("no video " * 99), "not_a_video", False),
    "no_duration.webm": (live, None, True),
    "title_not_utf8.mp4": (title_not_utf8, None, True),
    "odd_size.mkv": (odd_size, None, True),
    "changing_size.h264": (changing_size, None, True),
    "no_timestamps.h264": (plain, None, True),
    "channels_20.mkv": (lambda p, s: plain(p, s, sound=tone(3, 20)), None, True),
    "broken_sound.mp4": (broken_sound, "broken_sound", True),
}
SCENES = {name: number for number, name in enumerate(VIDEOS, start=1)}
GOOD = SCENES["good_a.mp4"]


# --- seeds ---------------------------------------------------------------------------


def animated() -> bytes:
    first, second = Image.fromarray(still(GOOD)), Image.fromarray(still(90))
    return encoded(first, "GIF", save_all=True, append_images=[second])


def transparent() -> bytes:
    alpha = np.full((240, 320, 1), 255, np.uint8)
    alpha[:40, :40] = 0
    return encoded(Image.fromarray(np.dstack([still(GOOD), alpha])), "PNG")


def grey_16_bit() -> bytes:
    grey = np.asarray(Image.fromarray(still(GOOD)).convert("L"))
    return encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")


GOOD_JPEG = encoded(Image.fromarray(still(GOOD)), "JPEG")
IMAGES: dict[str, tuple[bytes | None, str | None]] = {
    # name: its bytes, the reason to be given for it; all are of the first good video
    "truncated.jpg": (GOOD_JPEG[: len(GOOD_JPEG) // 2], "corrupt_image"),
    "text.jpg": (b"<html>not found</html>", "not_an_image"),
    "empty.jpg": (b"", "not_an_image"),
    "bomb.png": (png_bomb(), "too_many_pixels"),
    "missing.jpg": (None, "not_found"),
    "cmyk.jpg": (
        encoded(Image.fromarray(still(GOOD)).convert("CMYK"), "JPEG"),
        None,
    ),
    "grey_16_bit.png": (grey_16_bit(), None),
    "animated.gif": (animated(), None),
    "transparent.png": (transparent(), None),
}


def write_corpus(root: Path) -> None:
    """`videos.csv` and `seeds/*.csv`, with all that is above beside it."""
    (root / "seeds").mkdir()
    for name, (make, _, _) in VIDEOS.items():
        make(root / name, SCENES[name])
    rows = ["video,title", *(f"{name},x" for name in VIDEOS), ",a row without a path"]
    (root / "videos.csv").write_text("\n".join(rows) + "\n")
    seeds = [["image", "caption"]]
    for name, scene in SCENES.items():
        picture = f"{name}.png"
        Image.fromarray(still(scene)).save(root / "seeds" / picture)
        seeds.append([picture, f"scene of {name}"])
    for name, (data, _) in IMAGES.items():
        if data is not None:
            (root / "seeds" / name).write_bytes(data)
        seeds.append([name, f"image {name}"])
    Image.fromarray(still(SCENES["corrupt_from_2.mp4"] + 200)).save(
        root / "seeds" / "lost.png"
    )
    seeds += [["lost.png", "what came after the damage"]]
    seeds += [["good_b.webm.png", TRICKY], ["good_a.mp4.png", " \t "], ["", "no image"]]
    with (root / "seeds" / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(seeds)
    with (root / "seeds" / "table.csv").open("ab") as binary:
        binary.write(b"good_b.webm.png,caf\xe9 in latin-1\r\n")
        binary.write(b"good_b.webm.png,the last row\r\n")
    (root / "seeds" / "wrong.csv").write_text("picture,words\na.jpg,hello\n")


class Outcome:
    """A finished run, read back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run = json.loads((directory / "run.json").read_text())
        letters = [
            json.loads(line)
            for file in sorted((directory / "rejected").iterdir())
            for line in file.read_text().splitlines()
        ]
        self.reasons: dict[str, list[str]] = {}
        self.messages: dict[str, str] = {}
        for letter in letters:
            assert letter["message"]
            key = letter["key"].partition("@")[0]
            self.reasons.setdefault(key, []).append(letter["reason"])
            self.messages[key] = letter["message"]
        files = sorted((directory / "pairs").iterdir())
        self.pairs = [row for file in files for row in pq.read_table(file).to_pylist()]

    def of(self, caption: str) -> list[dict[str, Any]]:
        return [pair for pair in self.pairs if pair["caption"] == caption]

    def assert_balanced(self) -> None:
        for stage in self.run["accounting"]:
            dropped = sum(stage["dropped"].values())
            assert stage["in"] == stage["out"] + dropped, stage


def mine(seeds: Path, videos: Path, output: Path, *flags: str) -> int:
    places = [f"--seeds={seeds}", f"--videos={videos}", f"--output={output}"]
    return run([*places, "--num_shards=2", *flags])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bad")
    write_corpus(root)
    return root


@pytest.fixture(scope="module")
def outcome(root: Path) -> Outcome:
    assert mine(root / "seeds", root / "videos.csv", root / "run") == 0
    return Outcome(root / "run")


# --- tests ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIDEOS)
def test_video(outcome: Outcome, name: str) -> None:
    _, reason, is_used = VIDEOS[name]
    assert set(outcome.reasons.get(name, [])) == ({reason} if reason else set())
    found = {pair["video"] for pair in outcome.of(f"scene of {name}")}
    assert found == ({name} if is_used else set())


def test_what_precedes_the_damage_is_used_and_no_more(outcome: Outcome) -> None:
    (pair,) = outcome.of("scene of corrupt_from_2.mp4")
    assert pair["time_us"] == 1_000_000
    assert pair["start_us"] == 0 and 1_900_000 <= pair["end_us"] <= 2_100_000
    assert not outcome.of("what came after the damage")


def test_sizes_that_change_are_followed(outcome: Outcome) -> None:
    (pair,) = outcome.of("scene of changing_size.h264")
    assert pair["time_us"] >= 2_000_000


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("good_a.mp4", "ok"),
        ("good_b.webm", "none"),
        ("channels_20.mkv", "ok"),
        ("broken_sound.mp4", "broken"),
    ],
)
def test_sound_is_judged_and_the_verdict_kept(
    outcome: Outcome, name: str, verdict: str
) -> None:
    assert {p["sound"] for p in outcome.pairs if p["video"] == name} == {verdict}
    assert outcome.run["counts"][f"sound/{verdict}"]


@pytest.mark.parametrize("name", IMAGES)
def test_image(outcome: Outcome, name: str) -> None:
    _, reason = IMAGES[name]
    assert outcome.reasons.get(name, []) == ([reason] if reason else [])
    found = [pair["video"] for pair in outcome.of(f"image {name}")]
    assert found == ([] if reason else ["good_a.mp4"])


def test_captions_and_rows(outcome: Outcome, root: Path) -> None:
    table = root / "seeds" / "table.csv"
    last = 1 + len(VIDEOS) + len(IMAGES) + 1
    reasons = {
        key.removeprefix(f"{table}:"): value
        for key, value in outcome.reasons.items()
        if key.startswith(str(table))
    }
    assert sorted(reasons.values()) == [["missing_image"], ["not_utf8"]], reasons
    assert len(reasons) == 2 and min(int(n) for n in reasons) > last
    assert outcome.reasons["good_a.mp4.png"] == ["empty_caption"]
    assert outcome.of("the last row")
    assert outcome.reasons[str(root / "seeds" / "wrong.csv")] == ["missing_column"]
    (row_without_path,) = [k for k in outcome.reasons if "videos.csv" in k]
    assert outcome.reasons[row_without_path] == ["missing_path"]


def test_a_caption_is_kept_byte_for_byte(outcome: Outcome) -> None:
    with (outcome.directory / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [r[0] for r in rows if r[3] == TRICKY] == ["good_b.webm"]
    assert len(rows) == len(outcome.pairs)
    kept = [
        caption.text
        for file in sorted((outcome.directory / "clips").iterdir())
        for data in read_records(str(file))
        for caption in decode(data).captions
    ]
    assert sorted(kept) == sorted(row[3] for row in rows) and TRICKY in kept


def test_accounting_balances(outcome: Outcome) -> None:
    outcome.assert_balanced()
    counts = outcome.run["counts"]
    failed = {n for n, (_, reason, used) in VIDEOS.items() if reason and not used}
    assert counts["videos"] == len(VIDEOS)
    assert counts["videos_failed"] == len(failed)
    assert counts["videos_mined"] == len(VIDEOS) - len(failed)
    assert counts["videos_broken"] == 2


# --- decoders that hang --------------------------------------------------------------

LIMIT_S = 0.5


def write_heavy(path: Path) -> None:
    """One group of pictures that takes seconds to decode, and little to make.

    VP8's delta frames hold no time: one of them, written again and again, is a video.
    """
    noise = np.random.default_rng(0).integers(0, 256, (2, 1080, 1920, 3), np.uint8)
    part = write_video(path.with_suffix(".part.webm"), noise, codec="libvpx")
    with av.open(str(part)) as source, av.open(str(path), "w") as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        packets = [bytes(p) for p in source.demux(video=0) if p.size]
        for i in range(2000):
            packet = av.Packet(packets[min(i, 1)])
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = i * 40
            packet.is_keyframe = i == 0
            sink.mux(packet)


def write_endless(path: Path) -> None:
    """A live playlist without an end: FFmpeg waits for its next part."""
    part = write_video(path.with_suffix(".ts"), film(91, 2))
    path.write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"
        f"#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:2.0,\n{part.name}\n"
    )


def test_decoders_that_hang_are_ended(tmp_path: Path) -> None:
    write_heavy(tmp_path / "heavy.webm")
    write_endless(tmp_path / "endless.m3u8")
    write_video(tmp_path / "good.mp4", film(1, 1, width=96, height=72))
    names = ("heavy.webm", "endless.m3u8", "good.mp4")
    (tmp_path / "videos.csv").write_text("video\n" + "\n".join(names) + "\n")
    Image.fromarray(still(1)).save(tmp_path / "good.png")
    (tmp_path / "seeds.csv").write_text("image,caption\ngood.png,good\n")
    flags = (f"--video_timeout_s={LIMIT_S}", "--clip_fps=5")
    output = tmp_path / "run"
    assert mine(tmp_path / "seeds.csv", tmp_path / "videos.csv", output, *flags) == 0
    outcome = Outcome(output)
    assert outcome.reasons == {
        "heavy.webm": ["decode_timeout"],
        "endless.m3u8": ["decode_timeout"],
    }
    assert "took longer" in outcome.messages["heavy.webm"]
    assert "was ended" in outcome.messages["endless.m3u8"]
    assert [pair["video"] for pair in outcome.of("good")] == ["good.mp4"]
    outcome.assert_balanced()


# --- jobs that cannot start, or fail -------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Good seeds and videos, and a place for the output."""
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", film(1, 1, width=96, height=72))
    Image.fromarray(still(1)).save(tmp_path / "a.png")
    (tmp_path / "seeds.csv").write_text("image,caption\na.png,a scene\n")
    return tmp_path / "seeds.csv", tmp_path / "videos", tmp_path / "run"


def tree(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_another_run_is_not_touched_unless_told(
    small: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert mine(*small, "--clip_fps=5") == 0
    before = tree(small[2])
    assert mine(*small) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert tree(small[2]) == before
    assert mine(*small, "--clip_fps=10", "--overwrite") == 0
    assert Outcome(small[2]).run["config"]["clip_fps"] == 10


def test_an_output_with_other_files_is_refused(
    small: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    small[2].mkdir()
    (small[2] / "thesis.tex").write_text("years of work")
    for flags in ((), ("--overwrite",)):
        assert mine(*small, *flags) == 2
        assert "other files" in capsys.readouterr().err
    assert tree(small[2]) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("name", ["resnet", "hub:", "hub:nowhere/at/all"])
def test_an_embedder_that_cannot_be_loaded(
    small: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert mine(*small, f"--embedder={name}") == 2
    assert "--embedder" in capsys.readouterr().err
    assert not small[2].exists()


@pytest.mark.parametrize(
    ("dimension", "embedder", "complaint"),
    [(7, "descriptor-v1", "dimension 7"), (816, "another", "made by another")],
)
def test_embeddings_that_do_not_fit_the_embedder(
    small: tuple[Path, Path, Path],
    capsys: pytest.CaptureFixture[str],
    dimension: int,
    embedder: str,
    complaint: str,
) -> None:
    columns = {"image": ["a"], "caption": ["b"], "embedding": [[1.0] * dimension]}
    table = pa.table(columns | {"embedder": [embedder]})
    seeds = small[0].with_suffix(".parquet")
    pq.write_table(table, seeds)
    assert mine(seeds, *small[1:]) == 2
    assert complaint in capsys.readouterr().err
    assert not small[2].exists()


@pytest.mark.parametrize("which", ["videos", "seeds", "columns"])
def test_a_job_in_which_everything_failed(
    small: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str], which: str
) -> None:
    if which == "videos":
        (small[1] / "a.mp4").write_text("no video")
    elif which == "seeds":
        (small[0].parent / "a.png").write_text("no image")
    else:
        small[0].write_text("picture,words\na.png,a scene\n")
    assert mine(*small) == 1
    assert "not one" in capsys.readouterr().err
    outcome = Outcome(small[2])
    assert len(outcome.reasons) == 1
    outcome.assert_balanced()
