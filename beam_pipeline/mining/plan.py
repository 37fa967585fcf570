"""A run's settings in the terms of its steps."""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

from beam_pipeline.mining.config import MineConfig
from beam_pipeline.mining.external_index import ExternalIndex
from beam_pipeline.mining.flags import DownloadFlags, FilterFlags
from beam_pipeline.mining.preflight import threshold_of
from clipseed.io.http import FetchConfig
from clipseed.io.storage import join
from clipseed.run.reader import Run
from models.embedders.base import Embedder
from transforms.clips.cut import CutConfig
from transforms.clips.write import ClipsConfig
from transforms.frames.embedding_cache import FOLDER, EmbeddingCache
from transforms.matches.select import Selection
from transforms.media.sample_frames import SamplingConfig
from transforms.run.manifest import RunInfo
from transforms.seeds.build_index import BuildConfig
from transforms.seeds.formats import SeedsConfig
from transforms.seeds.load_images import LoadConfig
from transforms.videos.filters import FilterConfig, read_denylist

_SHORT_SIDE_PX = 256


@dataclass(frozen=True)
class Plan:
    """What each step of a run is told."""

    info: RunInfo
    seed_files: list[str]
    videos: str
    embedder: str
    accelerator: str
    seeds: SeedsConfig
    load: LoadConfig
    filters: FilterConfig
    sampling: SamplingConfig
    build: BuildConfig
    selection: Selection
    clips: ClipsConfig
    index: ExternalIndex | None = None
    kept: EmbeddingCache | None = None
    base_run: Run | None = None

    def merged_with(self, base_run: Run | None) -> "Plan":
        """Return the same plan, merged with a base run."""
        clips = dataclasses.replace(self.clips, base_run=base_run)
        return dataclasses.replace(self, clips=clips, base_run=base_run)


def make_plan(
    config: MineConfig,
    seed_files: list[str],
    embedder: Embedder,
    index: ExternalIndex | None = None,
) -> Plan:
    """Derive each step's settings from the flags and the findings of the preflight."""
    info = _run_info(config, embedder)
    fetch = fetch_of(config)
    sampling = _sampling(config, embedder)
    kept = _embedding_cache(config, embedder, sampling)
    return Plan(
        info=info,
        seed_files=seed_files,
        videos=config.videos,
        embedder=config.embedder,
        accelerator=config.accelerator,
        seeds=SeedsConfig(
            config.seeds_format,
            config.image_column,
            config.caption_column,
            config.allow_outside,
        ),
        load=LoadConfig(
            embedder.resizing,
            fetch,
            isolate=config.isolate_decoder,
            max_failed_share=config.max_failed_share,
        ),
        filters=filters_of(config),
        sampling=sampling,
        build=BuildConfig(
            config.output,
            config.embedder,
            embedder.embedder_id,
            info.min_similarity,
            sampling,
            fetch,
            config.isolate_decoder,
            kept,
        ),
        selection=Selection(info.threshold, config.top_k, config.gap_us),
        clips=clips_of(config, config.clip_us, embedder.embedder_id),
        index=index,
        kept=kept,
    )


def _run_info(config: MineConfig, embedder: Embedder) -> RunInfo:
    threshold = threshold_of(config, embedder)
    wanted = config.min_similarity
    return RunInfo(
        config.output,
        config.as_json(),
        config.hash(),
        embedder.embedder_id,
        threshold,
        threshold if wanted is None else min(wanted, threshold),
        time.time(),
        config.keep_embeddings,
    )


def _sampling(config: MineConfig, embedder: Embedder) -> SamplingConfig:
    return SamplingConfig(
        config.sample_fps,
        config.sampling,
        embedder.resizing,
        config.part_s,
        config.video_timeout_s,
        config.max_duration_s,
        config.max_failed_share,
    )


def clips_of(config: Any, clip_us: int, made_by: str) -> ClipsConfig:
    """Return what a job writes of clips.

    Args:
        config: flags of the job.
        clip_us: length of a clip that is cut around a time.
        made_by: id of the model that the captions come from.
    """
    cut = CutConfig(
        clip_us,
        config.clip_fps,
        _SHORT_SIDE_PX,
        config.video_timeout_s,
        config.max_failed_share,
    )
    return ClipsConfig(
        config.output,
        config.num_shards,
        cut,
        made_by,
        config.require_sound,
        fetch_of(config),
        config.isolate_decoder,
    )


def _embedding_cache(
    config: MineConfig, embedder: Embedder, sampling: SamplingConfig
) -> EmbeddingCache | None:
    folder = join(config.output, FOLDER) if config.keep_embeddings else ""
    reused = (
        join(config.reuse_embeddings_from, FOLDER)
        if config.reuse_embeddings_from
        else ""
    )
    if not folder and not reused:
        return None
    return EmbeddingCache(folder, embedder.embedder_id, sampling, reused)


def fetch_of(flags: DownloadFlags) -> FetchConfig:
    """Return the bounds of downloads."""
    scratch_bytes = round(flags.scratch_gib * 2**30)
    return FetchConfig(allow_private=flags.allow_private, scratch_bytes=scratch_bytes)


def filters_of(config: FilterFlags) -> FilterConfig:
    """Return the limits that videos are filtered by."""
    denied = read_denylist(config.denylist) if config.denylist else frozenset()
    return FilterConfig(
        as_of=config.as_of,
        min_view_count=config.min_view_count,
        max_duration_s=config.max_duration_s,
        max_age_years=config.max_age_years,
        min_age_days=config.min_age_days,
        require_safe=not config.allow_unsafe,
        deny_ids=denied,
        deny_hosts=denied,
    )
