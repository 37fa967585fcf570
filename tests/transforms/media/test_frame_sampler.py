"""Sampling against a plain sequential decode, on real and on made files."""

import bisect
import functools
import itertools
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.made_media import film, tone, truncate, write_video
from tests.support.paths import DATA
from transforms.media.container import open_video
from transforms.media.frame_sampler import _Planner, sample
from transforms.media.video_decoder import VideoDecoder

VIDEOS = DATA / "videos"
FILES = sorted(VIDEOS.glob("*")) if VIDEOS.is_dir() else []
SECOND = 1_000_000
# Their own tests are below.
EXCEPTIONS = {"decord_corrupted.mp4", "mma_test_avi.avi"}
# Sampled at 25 fps as well: one of each codec and container, and the awkward ones.
AT_25_FPS = {
    "ax_hdr10av1.mp4", "decord_pancake.mkv", "derived_hevc_dogwalk.mp4",
    "derived_mjpeg_pancake.avi", "exo_320.mp4", "exo_desks.3gp", "exo_roadtrip.webm",
    "iio_cockatoo.mp4", "intel_asl_book.mkv", "intel_car.mp4", "iv_example1.mp4",
    "mdn_flower.webm", "mpy_no_duration.webm", "skv_bbb.mp4", "tc_h265.mp4",
}  # fmt: skip
Frames = list[tuple[int, int]]  # when, and the digest of what is shown
real_videos = pytest.mark.skipif(not FILES, reason="shared/data/videos is not here")


def digest(frame: av.VideoFrame) -> int:
    """Return a checksum of the samples of all planes, without the rows' padding."""
    sample_bytes = 2 if frame.format.components[0].bits > 8 else 1
    value = 0
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        shown = rows[:, : plane.width * sample_bytes]
        value = zlib.crc32(np.ascontiguousarray(shown), value)
    return value


def decoded(path: Path, key_only: bool = False) -> Frames:
    """Return every frame up to the first error, in presentation order."""
    frames = _decoded(path, path.stat().st_mtime_ns)
    return [(time_us, shown) for time_us, shown, key in frames if key or not key_only]


@functools.cache
def _decoded(path: Path, changed_ns: int) -> list[tuple[int, int, bool]]:
    frames = []
    with av.open(str(path), metadata_errors="ignore") as container:
        origin = Fraction(container.start_time or 0, av.time_base)
        try:
            for frame in container.decode(video=0):
                time_us = round((frame.pts * frame.time_base - origin) * SECOND)
                frames.append((time_us, digest(frame), bool(frame.key_frame)))
        except av.error.FFmpegError:
            pass
    return sorted(frames, key=lambda frame: frame[0])


def period_us(path: Path) -> int:
    with av.open(str(path), metadata_errors="ignore") as container:
        return round(SECOND / (container.streams.video[0].average_rate or 25))


def on_screen(
    frames: Frames, step_us: int, start_us: int = 0, last_us: int = 40_000
) -> Frames:
    """Return what a player shows; the last frame stays for `last_us`."""
    times = [time_us for time_us, _ in frames]
    end_us = times[-1] + last_us
    at = [
        max(0, bisect.bisect_right(times, instant) - 1)
        for instant in range(start_us, end_us, step_us)
    ]
    return [frames[i] for i in dict.fromkeys(at)]


def sampled(
    path: Path, step_us: int, start_us: int = 0, mode: str = "exact"
) -> tuple[Frames, list[tuple[int, str]]]:
    with open_video(str(path)) as container:
        decoder = VideoDecoder(container)
        picked = sample(decoder, itertools.count(start_us, step_us), mode)
        frames = [(s.time_us, digest(s.frame)) for s in picked]
        return frames, decoder.breaks


def assert_same(got: Frames, wanted: Frames) -> None:
    assert [time_us for time_us, _ in got] == [time_us for time_us, _ in wanted]
    for (time_us, a), (_, b) in zip(got, wanted, strict=True):
        assert a == b, time_us


def assert_exact(path: Path, *steps_us: int, start_us: int = 0) -> None:
    frames = decoded(path)
    for step_us in steps_us:
        got, breaks = sampled(path, step_us, start_us)
        assert_same(got, on_screen(frames, step_us, start_us, period_us(path)))
        assert breaks == []


def made(
    path: Path,
    codec: str = "libx264",
    count: int = 100,
    size: tuple[int, int] = (96, 64),
    stamps: list[int] | None = None,
    **options: str,
) -> Path:
    """Write a moving pattern at 25 fps; every frame differs from every other."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(count):
            planes = (x * 3 + i * 5, y * 3 + i * 2, (x + y) * 2 + i * 7)
            image = np.stack(planes, -1).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = stamps[i] if stamps else i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def x264(*options: str) -> dict[str, str]:
    return {"x264-params": ":".join(options)}


def x265(*options: str) -> dict[str, str]:
    return {"x265-params": ":".join(("log-level=none", *options))}


@real_videos
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_real_videos_equal_a_sequential_decode(path: Path) -> None:
    if path.name in EXCEPTIONS:
        pytest.skip("has its own test")
    steps = (SECOND, SECOND // 25) if path.name in AT_25_FPS else (SECOND,)
    assert_exact(path, *steps)


@real_videos
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_keyframes_are_the_nearest_and_clean(path: Path) -> None:
    if path.name in EXCEPTIONS:
        pytest.skip("has its own test")
    keys = decoded(path, key_only=True)
    times = [time_us for time_us, _ in keys]
    with open_video(str(path)) as container:
        picked = sample(VideoDecoder(container), itertools.count(0, SECOND), "keyframe")
        got = [(s.time_us, s.instant_us, digest(s.frame)) for s in picked]
    assert got
    for time_us, instant_us, image in got:
        nearest_us = min(abs(t - instant_us) for t in times)
        assert abs(time_us - instant_us) == nearest_us
        assert image == keys[times.index(time_us)][1]


@real_videos
def test_frames_before_a_break_are_used() -> None:
    path = VIDEOS / "decord_corrupted.mp4"
    got, breaks = sampled(path, SECOND // 10)
    assert_same(got, decoded(path)[: len(got)])
    assert [time_us for time_us, _ in got] == list(range(0, 2_800_000, 100_000))
    assert breaks[0][0] == 2_800_000 and "decoder failed" in breaks[0][1]


@real_videos
def test_avi_is_exact_within_its_reordering() -> None:
    path = VIDEOS / "mma_test_avi.avi"
    images = [image for _, image in decoded(path)]
    got, breaks = sampled(path, SECOND // 25)
    assert breaks == [] and len(got) >= len(images) - 1
    for i, (_, image) in enumerate(got):
        near = images[max(0, i - 2) : i + 3]
        assert image in near


MADE = {
    "open-gop.mp4": ("libx264", x264("open-gop=1", "keyint=20", "b-pyramid=2")),
    "pyramid.mp4": ("libx264", x264("keyint=1000", "bframes=5", "b-pyramid=2")),
    "refresh.mp4": ("libx264", x264("intra-refresh=1", "keyint=30")),
    "stream.ts": ("libx264", x264("keyint=25")),
    "open-gop-hevc.mp4": ("libx265", x265("keyint=20")),
    "layers-hevc.mp4": ("libx265", x265("temporal-layers=3", "b-pyramid=1")),
    "mpeg4.mp4": ("mpeg4", {"bf": "2", "g": "12"}),
    "mpeg2.ts": ("mpeg2video", {"bf": "2", "g": "20"}),
    "vp9.webm": ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "20",
                                "deadline": "realtime", "cpu-used": "8"}),
    "mpeg4.avi": ("mpeg4", {"g": "12"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_made_videos_equal_a_sequential_decode(tmp_path: Path, name: str) -> None:
    codec, options = MADE[name]
    path = made(tmp_path / name, codec, **options)
    assert_exact(path, SECOND, SECOND // 25, 330_000)


def test_long_gap_and_late_start(tmp_path: Path) -> None:
    gap = made(tmp_path / "a.mp4", stamps=[i + 800 * (i >= 50) for i in range(100)])
    assert_exact(gap, SECOND, SECOND // 25)
    late = made(tmp_path / "b.mkv", stamps=list(range(250, 350)))
    assert_exact(late, SECOND)


@pytest.mark.parametrize(
    ("name", "keyint"),
    [("a.mp4", 50), ("a.mkv", 50), ("a.ts", 50), ("one-group.mp4", 5000)],
)
def test_seeks_change_nothing(tmp_path: Path, name: str, keyint: int) -> None:
    path = made(tmp_path / name, count=1700, **x264(f"keyint={keyint}"))
    assert_exact(path, 21 * SECOND, 27_130_000)
    assert_exact(path, SECOND, start_us=45 * SECOND)


def test_a_late_start_gives_the_tail(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", count=1500, **x264("keyint=75", "open-gop=1"))
    full, _ = sampled(path, SECOND)
    tail, _ = sampled(path, SECOND, 40 * SECOND)
    assert_same(tail, full[40:])


def test_raw_stream_counts_its_frames(tmp_path: Path) -> None:
    path = made(tmp_path / "a.h264")
    with av.open(str(path)) as container:
        images = [digest(frame) for frame in container.decode(video=0)]
    got, breaks = sampled(path, SECOND)
    assert_same(got, [(i * SECOND, images[25 * i]) for i in range(4)])
    assert breaks == []


def test_changing_resolution(tmp_path: Path) -> None:
    small = made(tmp_path / "a.h264", count=50)
    large = made(tmp_path / "b.h264", count=50, size=(128, 96))
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    with open_video(str(both)) as container:
        picked = sample(VideoDecoder(container), itertools.count(0, SECOND))
        widths = [s.frame.width for s in picked]
    assert widths == [96, 96, 128, 128]


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", x264("keyint=25", "scenecut=0")),
        ("libx265", x265("keyint=25", "scenecut=0")),
        ("mpeg2video", {"bf": "2", "g": "25"}),
    ],
)
def test_cut_in_the_middle_of_a_group(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    whole = made(tmp_path / "a.ts", codec, **options)
    images = [image for _, image in decoded(whole)]
    data = whole.read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[len(data) // 188 * 2 // 5 * 188 :])
    got, _ = sampled(cut, SECOND // 5)
    assert len(got) >= 8
    for _, image in got:
        assert image in images


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_truncated_file_leaves_a_break(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "whole.mp4", count=250)
    cut = tmp_path / name
    flags = {"movflags": "faststart"} if name.endswith("mp4") else {}
    with av.open(str(path)) as source, av.open(str(cut), "w", options=flags) as sink:
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                sink.mux(packet)
    wanted = on_screen(decoded(path), SECOND)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 6 // 10])
    got, breaks = sampled(cut, SECOND)
    assert 3 <= len(got) <= 8
    assert_same(got, wanted[: len(got)])
    assert "its header says 10.0 s" in breaks[-1][1]


def test_noise_from_the_middle_on(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", count=250, **x264("keyint=50"))
    wanted = on_screen(decoded(path), SECOND)
    data = bytearray(path.read_bytes())
    media, index = data.index(b"mdat"), data.index(b"moov")
    middle = (media + index) // 2
    noise = np.random.default_rng(0).integers(0, 256, index - 4 - middle, np.uint8)
    data[middle : index - 4] = noise.tobytes()
    path.write_bytes(data)
    got, breaks = sampled(path, SECOND)
    assert 3 <= len(got) <= 8
    assert_same(got, wanted[: len(got)])
    assert breaks and "decoder failed" in breaks[0][1]


def test_recovers_at_the_next_keyframe(tmp_path: Path) -> None:
    path = made(tmp_path / "a.mp4", count=250, **x264("keyint=50", "scenecut=0"))
    wanted = dict(on_screen(decoded(path), SECOND // 5))
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 1000] = b"\xff" * 1000
    path.write_bytes(data)
    got, breaks = sampled(path, SECOND // 5)
    assert 35 <= len(got) < 50 and breaks
    assert got[-1][0] == max(wanted)
    for time_us, image in got:
        assert image == wanted[time_us], time_us


@real_videos
def test_old_x264_in_444_is_right_after_a_late_start() -> None:
    """Its version is in the first packet; without it the picture turns green."""
    path = VIDEOS / "iio_cockatoo.mp4"
    instants = list(range(4_000_000, 6_000_000, 40_000))
    with open_video(str(path)) as container:
        decoder = VideoDecoder(container)
        late = list(sample(decoder, instants))
    assert decoder.breaks == []
    assert [s.time_us for s in late][:3] == [4_000_000, 4_050_000, 4_100_000]


def test_a_frame_that_shows_for_a_day_costs_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One edited duration made half a million steps of a file of 10 KB."""
    day = 86_400 * 25
    path = made(tmp_path / "day.mp4", count=9, stamps=[*range(6), *range(day, day + 3)])
    steps = []
    reach_one = _Planner._reach_one

    def counted(planner: _Planner, instant_us: int) -> Any:
        steps.append(instant_us)
        return (yield from reach_one(planner, instant_us))

    monkeypatch.setattr(_Planner, "_reach_one", counted)
    with open_video(str(path)) as container:
        decoder = VideoDecoder(container)
        found = list(sample(decoder, range(0, 10**12, 500_000)))
    assert len(found) == 4 and len(steps) <= 9


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("with_sound", [False, True])
def test_a_cut_webm_is_noticed(tmp_path: Path, share: float, with_sound: bool) -> None:
    sound = tone(6) if with_sound else None
    path = write_video(tmp_path / "a.mkv", film(1, 6), sound=sound)
    assert breaks_of(path) == []
    truncate(path, share)
    # The tags that tell the length of each track: some muxers write none.
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOM"))
    ((time_us, message),) = breaks_of(path)
    assert 0 < time_us < 5_500_000
    assert "its header says 6.0 s; what comes after it is lost" in message


def breaks_of(path: Path) -> list[tuple[int, str]]:
    with open_video(str(path)) as container:
        decoder = VideoDecoder(container)
        assert list(sample(decoder, range(0, 10_000_000, 1_000_000)))
        return decoder.breaks


def test_sound_that_outlasts_the_pictures_is_no_damage(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", film(1, 3), sound=tone(6))
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOM"))
    assert breaks_of(path) == []
