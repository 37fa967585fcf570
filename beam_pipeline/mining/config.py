"""Flags of `clipseed mine`, parsed once into a frozen configuration."""

import argparse
import datetime
import itertools
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from clipseed.hashing import content_id
from transforms.seeds.formats import SeedsFormat

# What decides how a run is done, and not what comes out of it.
_NOT_IN_HASH = frozenset(
    {
        "output",
        "overwrite",
        "keep_embeddings",
        "reuse_embeddings_from",
        "accelerator",
        "isolate_decoder",
        "video_timeout_s",
        "scratch_gib",
        "index_ca",
        "index_cert",
        "index_key",
        "index_token_file",
    }
)
_POSITIVE = (
    "sample_fps",
    "top_k",
    "clip_s",
    "clip_fps",
    "num_shards",
    "part_s",
    "video_timeout_s",
    "scratch_gib",
)


@dataclass(frozen=True)
class MineConfig:
    """All of a run's settings; the flags of the same names explain them."""

    seeds: str
    videos: str
    output: str
    seeds_format: SeedsFormat
    image_column: str | None
    caption_column: str | None
    allow_private: bool
    as_of: datetime.date
    min_view_count: int | None
    max_duration_s: float | None
    max_age_years: int | None
    min_age_days: int | None
    require_safe: bool
    denylist: str | None
    embedder: str
    index: str | None
    index_ca: str
    index_cert: str
    index_key: str
    index_token_file: str
    accelerator: str
    sample_fps: float
    sampling: str
    part_s: float
    keep_embeddings: bool
    reuse_embeddings_from: str | None
    video_timeout_s: float
    scratch_gib: float
    isolate_decoder: bool
    threshold: float | None
    min_similarity: float | None
    top_k: int
    min_gap_s: float | None
    clip_s: float
    clip_fps: float
    require_sound: bool
    num_shards: int
    overwrite: bool
    merge_with: str | None

    @property
    def gap_us(self) -> int:
        """The least time between matches of a seed in one video."""
        gap_s = self.clip_s if self.min_gap_s is None else self.min_gap_s
        return round(gap_s * 1_000_000)

    def as_json(self) -> dict[str, object]:
        """The settings as `run.json` keeps them."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}

    def hash(self) -> str:
        """Names the settings that decide the result."""
        kept = {k: v for k, v in self.as_json().items() if k not in _NOT_IN_HASH}
        return content_id(json.dumps(kept, sort_keys=True))


def parse_mine(argv: Sequence[str] | None) -> tuple[MineConfig, list[str]]:
    """Parses the flags of `clipseed mine`.

    Returns:
        the configuration, and the flags left over: Beam's.

    Raises:
        SystemExit: 2, with a message, when a flag is wrong.
    """
    parser = mine_parser()
    known, left = parser.parse_known_args(argv)
    beam_flags = _spell_out(left)
    fields = vars(known)
    fields["as_of"] = known.as_of or datetime.datetime.now(datetime.UTC).date()
    config = MineConfig(**fields)
    problem = _problem(config) or _unknown_flag(beam_flags)
    if problem:
        parser.error(problem)
    return config, beam_flags


def _problem(config: MineConfig) -> str | None:
    for name in _POSITIVE:
        if not 0 < getattr(config, name) < math.inf:  # So that NaN fails too.
            return f"--{name} must be a number above 0"
    min_similarity, threshold = config.min_similarity, config.threshold
    if (
        min_similarity is not None
        and threshold is not None
        and min_similarity > threshold
    ):
        return "--min_similarity must not be above --threshold"
    for name in ("threshold", "min_similarity"):
        value = getattr(config, name)
        if value is not None and not -1 <= value < 1:
            return f"--{name} is a cosine: at least -1 and below 1"
    if config.merge_with is not None and _same_place(config.merge_with, config.output):
        return "--merge_with must not be --output: the older run stays as it is"
    if config.min_gap_s is not None and not 0 <= config.min_gap_s < math.inf:
        return "--min_gap_s must be a number and not negative"
    return None


def _spell_out(flags: list[str]) -> list[str]:
    """Lets `--dry_run` stand alone; Beam wants a value, and takes any for yes."""
    return [
        f"{flag}=True" if flag == "--dry_run" and after.startswith("--") else flag
        for flag, after in itertools.pairwise([*flags, "--"])
    ]


def _same_place(one: str, other: str) -> bool:
    return os.path.normpath(one) == os.path.normpath(other)


def _unknown_flag(flags: list[str]) -> str | None:
    """Beam drops flags that it does not know; here a slip of the pen is an error."""
    given = PipelineOptions(flags).get_all_options()
    if given["runner"] not in (None, "FnApiRunner", "DirectRunner", "DataflowRunner"):
        return None  # Their job servers know options that are not known here.
    if given["template_location"]:
        return None  # A flex template's launcher adds flags of its own.
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for options in [PipelineOptions, *PipelineOptions.__subclasses__()]:
        if hasattr(options, "_add_argparse_args"):
            try:
                options._add_argparse_args(parser)
            except argparse.ArgumentError:
                continue
    _, unknown = parser.parse_known_args(flags)
    return f"unknown flag: {' '.join(unknown)}" if unknown else None


def _date(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def _limit(kind: type) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        return None if text.lower() == "none" else kind(text)

    parse.__name__ = f"{kind.__name__} or none"
    return parse


def mine_parser() -> argparse.ArgumentParser:
    """The flags of `clipseed mine`, with their help."""
    parser = argparse.ArgumentParser(
        prog="clipseed mine",
        description="Mines video clips for the captions of images (VideoCC, section "
        "3). Flags that are not listed here go to Apache Beam.",
        allow_abbrev=False,
    )
    add = parser.add_argument_group("input and output").add_argument
    add("--seeds", required=True, help="file, folder or glob: a table (CSV, TSV, "
        "JSONL, Parquet), CC3M/CC12M TSV, or webdataset shards")  # fmt: skip
    add("--videos", required=True, help="folder, glob, video file, or manifest (CSV, "
        "TSV, JSONL, Parquet)")  # fmt: skip
    add("--output", required=True, help="run directory, local or gs://")
    add("--overwrite", action="store_true", help="replace the run that is there")
    add("--merge_with", help="finished run over other videos with the same seeds and "
        "settings: the result is that of one run over all, and its videos are not "
        "decoded again")  # fmt: skip
    add("--num_shards", type=int, default=8, help="files a table and clips/")
    _add_seed_flags(parser)
    _add_filter_flags(parser)
    _add_frame_flags(parser)
    _add_match_flags(parser)
    _add_index_flags(parser)
    _add_clip_flags(parser)
    return parser


def _add_seed_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("seeds").add_argument
    add("--seeds_format", default="auto", help="how to read them",
        choices=["auto", "cc3m", "cc12m", "table", "webdataset"])  # fmt: skip
    add("--image_column", help="of a table; found by its usual names")
    add("--caption_column", help="likewise")
    add("--allow_private", action="store_true",
        help="also fetch from loopback and private addresses")  # fmt: skip


def _add_filter_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "filters", "Each where the manifest has the column; 'none' turns one off."
    )
    add = group.add_argument
    add("--as_of", type=_date, help="date that ages count from (default: today, UTC)")
    add("--min_view_count", type=_limit(int), default=1000, help="more views than this")
    add("--max_duration_s", type=_limit(float), default=1200.0, help="shorter than")
    add("--max_age_years", type=_limit(int), default=10, help="not uploaded before")
    add("--min_age_days", type=_limit(int), default=90, help="uploaded at least ago")
    add("--allow_unsafe", dest="require_safe", action="store_false",
        help="keep videos flagged as unsafe")  # fmt: skip
    add("--denylist", help="file of video ids and URL hosts, one a line")


def _add_frame_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("frames").add_argument
    add("--embedder", default="descriptor", help="'descriptor', hub:HANDLE_OR_DIR (a "
        "TF-Hub model) or jax:DIR (a published ViT or CLIP)")  # fmt: skip
    add("--accelerator", default="", help="resource hint of the embedding step, such "
        "as 'type:nvidia-l4;count:1;install-nvidia-driver'")  # fmt: skip
    add("--sample_fps", type=float, default=1.0, help="frames sampled a second")
    add("--sampling", choices=["exact", "keyframe"], default="exact",
        help="the frame at each instant, or the nearest keyframe (cheap)")  # fmt: skip
    add("--part_s", type=float, default=120.0,
        help="longer videos are sampled in parts of this length")  # fmt: skip
    add("--no_keep_embeddings", dest="keep_embeddings", action="store_false",
        help="keep no embeddings of frames in OUTPUT/work for later runs")  # fmt: skip
    add("--reuse_embeddings_from", help="run directory whose kept embeddings are used "
        "instead of decoding: for new seeds or another threshold")  # fmt: skip
    add("--video_timeout_s", type=float, default=600.0,
        help="limit for decoding one video or part")  # fmt: skip
    add("--scratch_gib", type=float, default=16.0, help="disk for copies of remote "
        "videos, in the folder for temporary files, a worker process")  # fmt: skip
    add("--isolate_decoder", action=argparse.BooleanOptionalAction, default=True,
        help="decode in a child process, which a bad file cannot outlive")  # fmt: skip


def _add_match_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("matches").add_argument
    add("--threshold", type=float, help="τ: pairs with more similarity match "
        "(default: the embedder's, 0.6)")  # fmt: skip
    add(
        "--min_similarity",
        type=float,
        help="keep matches above this in matches/ (default: τ)",
    )
    add("--top_k", type=int, default=10, help="clips a seed")
    add("--min_gap_s", type=float, help="between matches of a seed in one video "
        "(default: --clip_s; 0: the paper's literal rule)")  # fmt: skip


def _add_index_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("a given index").add_argument
    add("--index", help="match with this index of `clipseed index build` instead of "
        "building one: a directory, or grpc://HOST:PORT of the servers (commas between "
        "shards, | between replicas)")  # fmt: skip
    add("--index_ca", default="", help="who signed the servers' certificates, PEM: TLS")
    add("--index_cert", default="", help="own certificate, PEM, for mutual TLS")
    add("--index_key", default="", help="its private key, PEM")
    add("--index_token_file", default="", help="token to send")


def _add_clip_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("clips").add_argument
    add("--clip_s", type=float, default=10.0, help="length of a clip")
    add("--clip_fps", type=float, default=25.0, help="frames stored a second")
    add("--require_sound", action="store_true", help="drop clips whose sound is not ok")
