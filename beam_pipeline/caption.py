"""`clipseed caption`: clips of videos, captioned by a captioner of images.

videos ─ split ─ decode ─ caption frames ─ choose ─ cut ─► clips, pairs, run.json
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence

import apache_beam as beam

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from beam_pipeline.captions.caption_config import COMMAND_LINE, CaptionFlags
from beam_pipeline.captions.job import cut_and_finish, run_job
from beam_pipeline.mining.plan import fetch_of, filters_of
from beam_pipeline.mining.preflight import ConfigError
from beam_pipeline.mining.settings import parse_job
from beam_pipeline.mining.stages import Ledger
from clipseed.elements import PSEUDOLABEL
from clipseed.errors import InputError
from clipseed.run.accounting import (
    CAPTIONS,
    CAPTIONS_BELOW_MIN_SCORE,
    CAPTIONS_CHOSEN,
    CAPTIONS_NEARLY_THE_SAME,
    CAPTIONS_NOT_AMONG_THE_BEST,
    FRAMES_CAPTIONED,
    FRAMES_TO_CAPTION,
    PARTS,
    VIDEOS,
    Counter,
)
from models.captioning.base import Search
from models.captioning.registry import load_captioner, pin_captioner
from transforms.captions.choose import ChoiceReport, ChoiceRule, ChooseCaptions
from transforms.captions.frame_captions import CaptionFrames
from transforms.frames.extract import ExtractFrames, SplitVideos
from transforms.frames.outcomes import VideoTraces
from transforms.media.sample_frames import SamplingConfig
from transforms.tally import Tally
from transforms.videos.list_videos import ListVideos


def build_pipeline(pipeline: beam.Pipeline, config: CaptionFlags) -> None:
    """Build the graph of the whole job."""
    listed = (
        pipeline
        | "Videos" >> beam.Create([config.videos])
        | "ListVideos" >> ListVideos(filters_of(config))
    )
    sampling, fetch = _sampling(config), fetch_of(config)
    isolate = config.isolate_decoder
    split = listed.videos | SplitVideos(sampling, fetch, isolate)
    frames = split.parts | ExtractFrames(sampling, fetch, isolate)
    search = Search(config.beams, config.max_tokens)
    caption = CaptionFrames(config.captioner, search, config.accelerator)
    captioned = frames.chunks | caption
    chosen = captioned.ok | ChooseCaptions(_rule(config))
    tallies = [
        listed.videos | "VideosIn" >> Tally(VIDEOS),
        frames.reports | "Parts" >> Tally(PARTS),
        frames.chunks | "Frames" >> Tally(FRAMES_TO_CAPTION, lambda c: len(c.keys)),
        captioned.ok | "Captioned" >> Tally(FRAMES_CAPTIONED),
    ]
    tallies += [
        chosen.reports
        | f"Captions_{counter.reason or counter.kind}" >> Tally(counter, of)
        for counter, of in _OF_REPORTS
    ]
    rejected = [listed.rejected, split.rejected, frames.rejected, captioned.rejected]
    cut_and_finish(
        chosen.captions,
        VideoTraces(listed.videos, split.parts, split.reports, frames.reports),
        Ledger(rejected, tallies),
        config,
        PSEUDOLABEL,
        load_captioner(config.captioner).captioner_id,
        config.min_score,
    )


_OF_REPORTS: tuple[tuple[Counter, Callable[[ChoiceReport], int]], ...] = (
    (CAPTIONS, lambda r: r.read),
    (CAPTIONS_CHOSEN, lambda r: r.chosen),
    (CAPTIONS_BELOW_MIN_SCORE, lambda r: r.below_min_score),
    (CAPTIONS_NEARLY_THE_SAME, lambda r: r.nearly_the_same),
    (CAPTIONS_NOT_AMONG_THE_BEST, lambda r: r.not_among_the_best),
)


def _sampling(config: CaptionFlags) -> SamplingConfig:
    """Return how frames are taken: of each clip, in the middle or at equal distances.

    A frame shown at a clip's first instant may have begun in the clip before.
    """
    return SamplingConfig(
        1 / config.clip_s if config.sample_fps is None else config.sample_fps,
        config.sampling,
        load_captioner(config.captioner).resizing,
        config.part_s,
        config.video_timeout_s,
        config.max_duration_s,
        config.max_failed_share,
        phase=0.5,
    )


def _rule(config: CaptionFlags) -> ChoiceRule:
    return ChoiceRule(
        round(config.clip_s * 1_000_000),
        config.choose,
        config.captions_per_clip,
        config.min_score,
    )


def check(config: CaptionFlags) -> None:
    """Load the captioner.

    Raises:
        ConfigError: it cannot be loaded, or writes shorter captions than wanted.
    """
    try:
        captioner = load_captioner(config.captioner)
    except ValueError as error:
        raise ConfigError(f"--captioner: {error}") from error
    if config.max_tokens > captioner.max_tokens:
        raise ConfigError(
            f"--max_tokens {config.max_tokens}: this captioner's captions have at most "
            f"{captioner.max_tokens} tokens"
        )


def run(argv: Sequence[str] | None = None) -> int:
    """Run `clipseed caption`; return the exit status, as `clipseed mine` does."""
    config, beam_flags = parse_job(COMMAND_LINE, sys.argv[1:] if argv is None else argv)
    try:
        captioner = pin_captioner(config.captioner)
    except InputError as error:
        print(f"clipseed caption: --captioner: {error.message}", file=sys.stderr)
        return 2
    config = dataclasses.replace(config, captioner=captioner)
    return run_job("clipseed caption", config, beam_flags, check, build_pipeline)


if __name__ == "__main__":
    sys.exit(run())
