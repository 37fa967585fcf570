"""The main job on real videos: what issue 2 calls done."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_pipeline.mine import run
from clipseed.run.accounting import CLIPS
from clipseed.run.clip_record import decode
from clipseed.run.reader import Run
from clipseed.run.tfrecord import read_records
from models.embedders.descriptor import EMBEDDER_ID, describe
from models.pretrained.resizing import squeeze
from tests.support.blocked_imports import run_without
from tests.support.known_results import checksums, known_results
from tests.support.paths import DATA
from transforms.media.images import ImageLimits, decode_image, resize_for_embedding
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames

MOBILENET = DATA / "models" / "mobilenet_v2_1.0_224_features"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")

Row = dict[str, Any]


def mine(output: Path, *flags: str, seeds: Path = DATA / "pairs.csv") -> Path:
    videos = DATA / "videos"
    arguments = [f"--seeds={seeds}", f"--videos={videos}", f"--output={output}"]
    assert run([*arguments, *flags]) == 0
    return output


def table(run_dir: Path, name: str) -> list[Row]:
    files = sorted((run_dir / name).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def truth() -> list[Row]:
    with (DATA / "pairs.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def by_descriptor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mine(tmp_path_factory.mktemp("descriptor") / "run")


@pytest.fixture(scope="module")
def by_mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mobilenet") / "run"
    flags = ("--threshold=0.7", "--clip_fps=2")  # No test looks into its clips.
    return mine(output, f"--embedder=hub:{MOBILENET}", *flags)


def right_at_rank_1(run_dir: Path) -> set[str]:
    """Return captions of near-duplicate seeds whose first match is in its scene."""
    first = {r["caption"]: r for r in table(run_dir, "pairs") if r["rank"] == 1}
    right = set()
    for row in truth():
        match = first.get(row["caption"])
        if row["match_type"] == "near-duplicate" and match:
            time_s = match["time_us"] / 1e6
            if Path(row["video"]).name == match["video"] and (
                float(row["t_start"]) <= time_s <= float(row["t_end"])
            ):
                right.add(row["caption"])
    return right


def captions(match_type: str) -> set[str]:
    return {row["caption"] for row in truth() if row["match_type"] == match_type}


def test_mobilenet_finds_every_near_duplicate_first(by_mobilenet: Path) -> None:
    assert right_at_rank_1(by_mobilenet) == captions("near-duplicate")


def test_descriptor_finds_at_least_16_of_18(by_descriptor: Path) -> None:
    assert len(captions("near-duplicate")) == 18
    assert len(right_at_rank_1(by_descriptor)) >= 16


@pytest.mark.parametrize("name", ["by_descriptor", "by_mobilenet"])
class TestEachRun:
    @pytest.fixture
    def run_dir(self, name: str, request: pytest.FixtureRequest) -> Path:
        return request.getfixturevalue(name)

    def test_no_image_without_a_match_gets_a_pair(self, run_dir: Path) -> None:
        found = {row["caption"] for row in table(run_dir, "pairs")}
        assert found and not found & captions("none")

    def test_accounting_balances(self, run_dir: Path) -> None:
        stages = Run.open(run_dir, verify="checksums").mining.accounting
        assert len(stages) == 8
        for stage in stages:
            assert stage.inputs == stage.outputs + sum(stage.dropped.values()), stage

    def test_the_corrupt_video_is_used_up_to_its_break(self, run_dir: Path) -> None:
        rejected = list(Run.open(run_dir).dead_letters())
        assert [(dead_letter.key, dead_letter.reason) for dead_letter in rejected] == [
            ("decord_corrupted.mp4", "broken_video")
        ]
        assert "At 2.80 s" in rejected[0].message

    def test_pairs_csv_is_the_four_columns_of_the_pairs(self, run_dir: Path) -> None:
        with (run_dir / "pairs.csv").open(newline="") as file:
            rows = [(v, int(s), int(e), c) for v, s, e, c in csv.reader(file)]
        pairs = table(run_dir, "pairs")
        assert rows == [
            (r["video"], r["start_us"], r["end_us"], r["caption"]) for r in pairs
        ]


@pytest.mark.ci_only  # Of the made corpus, test_mine_flags shows it every day.
def test_other_workers_write_the_same_bytes(
    by_descriptor: Path, tmp_path: Path
) -> None:
    other = mine(
        tmp_path / "run",
        "--runner=FnApiRunner",
        "--direct_num_workers=1",
        "--direct_running_mode=in_memory",
        "--no_isolate_decoder",
        "--part_s=7",
    )
    names = ("pairs.csv", "clips/*", "rejected/*")
    for name in names:
        files = sorted(by_descriptor.glob(name))
        assert files
        for file in files:
            twin = other / file.relative_to(by_descriptor)
            if not name.startswith("rejected"):  # parts meet the same break twice
                assert twin.read_bytes() == file.read_bytes(), file.name
    assert table(other, "matches") == table(by_descriptor, "matches")


def test_the_bytes_are_those_of_the_first_version(by_descriptor: Path) -> None:
    """`known_results.json` was made before files moved and readers changed."""
    assert checksums(by_descriptor) == known_results("test_set")


def test_it_is_read_without_beam_or_tensorflow(by_descriptor: Path) -> None:
    code = """
import clipseed, json
run = clipseed.open_run(sys.argv[1], verify="checksums")
clips = [(c.clip_id, c.decode_frames().shape, len(c.samples), c.log_mel.shape,
          [s.text for s in c.captions]) for c in clipseed.read_clips(sys.argv[1])]
print(json.dumps([list(run.pairs()), list(run.matches()), list(run.dead_letters()),
                  clips]))
"""
    absent = ("apache_beam", "tensorflow", "jax", "av", "google.cloud")
    told = run_without((*absent, "transforms", "models"), code, str(by_descriptor))
    pairs, matches, rejected, clips = json.loads(told)
    assert pairs == table_rows(by_descriptor, "pairs")
    assert matches == table_rows(by_descriptor, "matches")
    assert [dead_letter[1:3] for dead_letter in rejected] == [
        ["decord_corrupted.mp4", "broken_video"]
    ]
    assert [clip[0] for clip in clips] == [
        record.clip_id for record in Run.open(by_descriptor).clips()
    ]
    for _, frames, samples, log_mel, captions in clips:
        assert frames[0] and min(frames[1:3]) == 256 and frames[3] == 3 and captions
        assert log_mel == [-(-samples // 160), 128]


def table_rows(run_dir: Path, name: str) -> list[list[Any]]:
    return [list(row.values()) for row in table(run_dir, name)]


def scenes_at(path: Path, times_s: list[float]) -> dict[float, np.ndarray]:
    """Return what a plain sequential decode shows, by time: int16 [36, 64, 3]."""
    left, scenes = sorted(set(times_s)), {}
    shown, since_s = None, -math.inf
    for begins_s, frame in frames_of(path):
        while shown is not None and left and left[0] + 1e-4 < begins_s:
            scenes[left.pop(0)] = small_scene(shown)
        if not left:
            break
        assert begins_s >= since_s
        shown, since_s = frame, begins_s
    assert shown is not None
    return scenes | {time_s: small_scene(shown) for time_s in left}


def frames_of(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yield the frames up to the first damage, with their times in seconds."""
    with av.open(str(path), metadata_errors="ignore") as container:
        origin = Fraction(container.start_time or 0, 1_000_000)
        for packet in container.demux(container.streams.video[0]):
            try:
                for frame in packet.decode():
                    yield float(frame.pts * frame.time_base - origin), frame
            except av.error.InvalidDataError:
                break


def small_scene(frame: av.VideoFrame) -> np.ndarray:
    small = frame.reformat(64, 36, "rgb24", interpolation="BILINEAR")
    return small.to_ndarray().astype(np.int16)


def test_clips_show_the_scene_at_their_time(by_descriptor: Path) -> None:
    clips = list(Run.open(by_descriptor).clips())
    assert len(clips) == Run.open(by_descriptor).mining.counts[CLIPS]
    picked: dict[str, list[tuple[float, bytes]]] = defaultdict(list)
    for clip in clips:
        length_s = (clip.end_us - clip.start_us) / 1e6
        assert len(clip.frames) == round(length_s * 25)
        assert length_s == 10 or length_s * 1e6 == clip.video_duration_us < 10_000_000
        assert min(clip.height_px, clip.width_px) == 256
        for k in range(0, len(clip.frames), 60):
            picked[clip.video].append((clip.start_us / 1e6 + k / 25, clip.frames[k]))
    for video, frames in picked.items():
        if video.endswith(".avi"):
            continue  # it has decoding times only
        scenes = scenes_at(DATA / "videos" / video, [time_s for time_s, _ in frames])
        for time_s, jpeg in frames:
            image = Image.open(BytesIO(jpeg)).convert("RGB")
            small = np.asarray(image.resize((64, 36), Image.Resampling.BILINEAR))
            assert np.abs(small - scenes[time_s]).mean() < 6, (video, time_s)


def test_sound_agrees_with_the_source(by_descriptor: Path) -> None:
    heard = 0
    for file in sorted((by_descriptor / "clips").iterdir()):
        for data in read_records(str(file)):
            clip = decode(data)
            if clip.sound_verdict == "none":
                assert not len(clip.samples) and not len(clip.log_mel)
                continue
            length_s = (clip.end_us - clip.start_us) / 1e6
            assert len(clip.samples) == round(length_s * 16_000)
            assert clip.log_mel.shape == (np.ceil(len(clip.samples) / 160), 128)
            source = mono_16k(DATA / "videos" / clip.video)
            first = round(clip.start_us * 0.016)
            part = source[first : first + len(clip.samples)]
            energy = float((part.astype(np.float64) ** 2).sum())
            if energy > 1e-3 * len(part):  # not next to silence
                heard += 1
                found = float((clip.samples.astype(np.float64) ** 2).sum())
                assert found == pytest.approx(energy, rel=0.02), clip.video
    assert heard >= 5


def mono_16k(path: Path) -> np.ndarray:
    """Return all sound by libswresample, from the container's start: float32 [n]."""
    parts: list[np.ndarray] = []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", rate=16_000)
        start = None
        for frame in container.decode(stream):
            if start is None:
                begin = Fraction(container.start_time or 0, 1_000_000)
                start = float((frame.pts or 0) * frame.time_base - begin)
            for out in resampler.resample(frame):
                parts.append(out.to_ndarray())
        for out in resampler.resample(None):
            parts.append(out.to_ndarray())
    mono = np.concatenate(parts, axis=1).mean(axis=0)
    lead = round((start or 0) * 16_000)
    return np.concatenate([np.zeros(max(0, lead), mono.dtype), mono[max(0, -lead) :]])


def real_seeds() -> tuple[list[str], list[str], np.ndarray]:
    """Return the distinct images and captions of pairs.csv, and their embeddings."""
    keys = list(dict.fromkeys((r["image"], r["caption"]) for r in truth()))
    images = []
    for name, _ in keys:
        rgb = decode_image((DATA / name).read_bytes(), ImageLimits())
        images.append(resize_for_embedding(rgb, 224))
    return [k[0] for k in keys], [k[1] for k in keys], describe(np.stack(images))


def real_frames() -> dict[tuple[str, int], np.ndarray]:
    """Embedding by video and time, of every frame that the job samples."""
    config = SamplingConfig(1.0, "exact", squeeze(224), 120.0, 600.0)
    found = {}
    for path in sorted((DATA / "videos").iterdir()):
        for item in extract_frames(str(path), 0, 2**62, config):
            if isinstance(item, Frame):
                found[path.name, item.time_us] = describe(item.image[None])[0]
    return found


def write_100k_seeds(path: Path, frames: dict[tuple[str, int], np.ndarray]) -> None:
    """Return the real seeds and distractors around them and around some frames."""
    names, texts, real = real_seeds()
    rng = np.random.default_rng(0)
    few = [v for (name, _), v in frames.items() if name.startswith(("vas_", "vf_"))]
    centers = np.concatenate([real, np.stack(few)])
    count = 100_000 - len(real)
    noise = rng.standard_normal((count, real.shape[1]), dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    cosine = rng.uniform(0.3, 0.75, (count, 1)).astype(np.float32)
    made = cosine * centers[rng.integers(len(centers), size=count)]
    made += np.sqrt(1 - cosine**2) * noise
    vectors = np.concatenate([real, made / np.linalg.norm(made, axis=1, keepdims=True)])
    names += [f"made/{i}" for i in range(count)]
    texts += [f"distractor {i}" for i in range(count)]
    embeddings = pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])
    columns = {"image": names, "caption": texts, "embedding": embeddings}
    written = pa.table(columns).replace_schema_metadata({"embedder": EMBEDDER_ID})
    pq.write_table(written, path)


@pytest.mark.ci_only
def test_100k_seeds_go_through_scann(by_descriptor: Path, tmp_path: Path) -> None:
    frames = real_frames()
    seeds = tmp_path / "seeds.parquet"
    write_100k_seeds(seeds, frames)
    output = mine(tmp_path / "run", seeds=seeds)
    index = Run.open(output).mining.index
    assert (index.kind, index.seeds) == ("scann", 100_000)
    assert index.recall is not None and index.recall >= 0.99

    # An exact search of our own, over the same frames.
    vectors = np.stack(pq.read_table(seeds)["embedding"].to_numpy())
    exact = np.stack(list(frames.values())) @ vectors.T > 0.6
    matched = {
        (r["seed_id"], r["video"], r["time_us"]) for r in table(output, "matches")
    }
    assert exact.sum() > 5_000
    assert len(matched) >= 0.99 * exact.sum()

    real = {row["caption"] for row in truth()}
    clips = defaultdict(set)
    for name, run_dir in (("few", by_descriptor), ("many", output)):
        for r in table(run_dir, "pairs"):
            if r["caption"] in real:
                clips[name].add((r["video"], r["start_us"], r["end_us"], r["caption"]))
    assert clips["few"] == clips["many"]
