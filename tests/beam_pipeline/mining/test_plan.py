"""Flags become steps' settings, each in its own unit."""

import datetime
import time
from pathlib import Path

import pytest

from beam_pipeline.mining.config import parse_mine
from beam_pipeline.mining.plan import Plan, make_plan
from clipseed.errors import InputError
from clipseed.io.http import FetchConfig
from models.embedders.base import Embedder
from models.pretrained.resizing import squeeze
from transforms.clips.cut import CutConfig
from transforms.clips.write import ClipsConfig
from transforms.frames.embedding_cache import EmbeddingCache
from transforms.media.sample_frames import SamplingConfig
from transforms.run.tables import Selection
from transforms.seeds.build_index import BuildConfig
from transforms.seeds.formats import SeedsConfig
from transforms.seeds.load_images import LoadConfig
from transforms.videos.filters import FilterConfig


class Fake:
    embedder_id = "fake@1"
    dimension = 4
    resizing = squeeze(96)
    default_threshold = 0.7

    def embed(self, images):  # type: ignore[no-untyped-def]
        raise NotImplementedError


FAKE: Embedder = Fake()


def plan(*flags: str) -> Plan:
    needed = ["--seeds=s", "--videos=v", "--output=o", "--as_of=2025-01-02"]
    return make_plan(parse_mine([*needed, *flags])[0], ["s/1.csv", "s/2.csv"], FAKE)


def test_every_step_is_told_what_the_flags_say(tmp_path: Path) -> None:
    denylist = tmp_path / "deny.txt"
    denylist.write_text("video1\nBad.Example # a host\n")
    made = plan(
        "--embedder=hub:x", "--accelerator=type:t4;count:1", "--allow_private",
        "--seeds_format=table", "--image_column=i", "--caption_column=c",
        "--allow_outside",
        "--min_view_count=5", "--max_duration_s=6", "--max_age_years=7",
        "--min_age_days=8", "--allow_unsafe", f"--denylist={denylist}",
        "--sample_fps=0.5", "--sampling=keyframe", "--part_s=30", "--video_timeout_s=9",
        "--no_isolate_decoder", "--max_failed_share=0.25", "--threshold=0.8",
        "--min_similarity=0.4", "--top_k=3", "--min_gap_s=1.5",
        "--clip_s=4.25", "--clip_fps=12", "--require_sound",
        "--num_shards=2", "--reuse_embeddings_from=old",
    )  # fmt: skip
    fetch = FetchConfig(allow_private=True)
    sampling = SamplingConfig(0.5, "keyframe", squeeze(96), 30.0, 9.0, 6.0, 0.25)
    cut = CutConfig(4_250_000, 12.0, 256, 9.0, 0.25)
    assert (made.seed_files, made.videos) == (["s/1.csv", "s/2.csv"], "v")
    assert (made.embedder, made.accelerator) == ("hub:x", "type:t4;count:1")
    assert made.seeds == SeedsConfig("table", "i", "c", True)
    assert made.load == LoadConfig(
        squeeze(96), fetch, isolate=False, max_failed_share=0.25
    )
    denied = frozenset(["video1", "Bad.Example"])
    assert made.filters == FilterConfig(
        datetime.date(2025, 1, 2), 5, 6.0, 7, 8, False, denied, denied
    )
    assert made.sampling == sampling
    kept = EmbeddingCache("o/work/frames", "fake@1", sampling, "old/work/frames")
    assert made.kept == kept
    assert made.build == BuildConfig(
        "o", "hub:x", "fake@1", 0.4, sampling, fetch, False, kept
    )
    assert made.selection == Selection(0.8, 3, 1_500_000)
    assert made.clips == ClipsConfig("o", 2, cut, "fake@1", True, fetch, False)


def test_embeddings_are_kept_unless_told_otherwise() -> None:
    kept = plan().kept
    assert kept is not None and (kept.folder, kept.older) == ("o/work/frames", "")
    assert plan("--no_keep_embeddings").kept is None
    reading = plan("--no_keep_embeddings", "--reuse_embeddings_from=old").kept
    assert reading is not None and (reading.folder, reading.older) == (
        "", "old/work/frames",
    )  # fmt: skip


def test_the_run_is_told_what_decided_it() -> None:
    before = time.time()
    config = parse_mine(["--seeds=s", "--videos=v", "--output=gs://b/o"])[0]
    info = make_plan(config, [], FAKE).info
    assert (info.run_dir, info.embedder_id) == ("gs://b/o", "fake@1")
    assert (info.config, info.config_hash) == (config.as_json(), config.hash())
    assert before <= info.started_s <= time.time()


@pytest.mark.parametrize(
    ("flags", "threshold", "min_similarity"),
    [
        ([], 0.7, 0.7),  # the embedder's
        (["--threshold=0.5"], 0.5, 0.5),
        (["--min_similarity=0.3"], 0.7, 0.3),
        (["--threshold=0.5", "--min_similarity=0.5"], 0.5, 0.5),
        (["--min_similarity=0.9"], 0.7, 0.7),  # above the embedder's threshold
    ],
)
def test_the_floor_is_at_most_the_threshold(
    flags: list[str], threshold: float, min_similarity: float
) -> None:
    made = plan(*flags)
    assert (made.selection.threshold, made.info.threshold) == (threshold, threshold)
    assert (made.build.min_similarity, made.info.min_similarity) == (
        min_similarity,
        min_similarity,
    )


def test_without_a_denylist_nothing_is_denied() -> None:
    filters = plan().filters
    assert filters.deny_ids == filters.deny_hosts == frozenset()


def test_a_denylist_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        plan(f"--denylist={tmp_path / 'absent.txt'}")
    assert caught.value.reason == "not_found"
