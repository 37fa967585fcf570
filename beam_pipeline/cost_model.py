"""What mining a corpus would cost, from what it was measured to cost.

    costs = estimate(Corpus(videos=150e6, hours=12.5e6, seeds=1.25e6), Assumptions())

Every constant is an assumption that can be given otherwise; each says where it is from.
Sums are over all workers: how many there are changes how long it takes, not how much.
"""

import math
from typing import Any, NamedTuple

from clipseed.flags import flag, flags

_FRAME_PX = 224  # the size that nearly all embedders take
# Above it ScaNN's tree answers, below it exact search (`index_service`).
_EXACT_BELOW = 20_000
# `benchmarks.index`: so many seeds of so many dimensions were searched.
_SEARCHED_SEEDS, _SEARCHED_DIMENSION = 250_000, 128


@flags
class Corpus:
    """Corpus."""

    videos: float = flag("Number of videos, such as 150e6", at_least=0, metavar="COUNT")
    hours: float = flag("Hours of all videos together", at_least=0, metavar="HOURS")
    seeds: float = flag("Number of seeds", at_least=0, metavar="COUNT")


def _assume(value: float, what: str, source: str) -> Any:
    return flag(what, default=value, source=source, above=0)


_STAGES = "measured, benchmarks/mining/stages.py"
_INDEX = "measured, benchmarks.index"
_SCALING = "measured, benchmarks/mining/scaling.py"
_UNKNOWN = "ASSUMED; take it from the run.json of a sample"


@flags
class Assumptions:
    """Assumptions."""

    sample_fps: float = _assume(1.0, "Frames sampled per second", "the paper")
    exact_decode_s: float = _assume(
        35.1,
        "CPU seconds to sample an hour of 640x360 H.264, --sampling=exact",
        _STAGES,
    )
    keyframe_decode_s: float = _assume(
        3.6, "CPU seconds to sample an hour, --sampling=keyframe", _STAGES
    )
    embed_s: float = _assume(
        0.0124, "CPU seconds to embed a frame, MobileNetV2", _STAGES
    )
    gpu_frames_s: float = _assume(
        2000.0, "Frames that a GPU embeds per second", "ASSUMED; no GPU was measured"
    )
    dimension: float = _assume(1280.0, "Dimension of an embedding", "MobileNetV2")
    exact_queries_s: float = _assume(
        761.0,
        "Frames that a core matches per second, exact search, 250,000 seeds x 128",
        _INDEX,
    )
    scann_queries_s: float = _assume(
        10_675.0,
        "Frames that a core matches per second, ScaNN at 0.993 recall; not measured "
        "for 1M seeds",
        _INDEX,
    )
    seed_s: float = _assume(0.0022, "CPU seconds to read the image of a seed", _STAGES)
    matches_per_seed: float = _assume(
        100.0, "Matches above the threshold per seed", _UNKNOWN
    )
    clips_per_seed: float = _assume(
        8.0, "Clips cut per seed, at most --top_k (10)", _UNKNOWN
    )
    cut_s: float = _assume(0.95, "CPU seconds to cut a clip of 10 s at 25 fps", _STAGES)
    clip_bytes: float = _assume(5.9e6, "Bytes of a clip", _STAGES)
    match_bytes: float = _assume(162.0, "Bytes of a shuffled match", _STAGES)
    part_bytes: float = _assume(123.0, "Bytes of a shuffled video part", _STAGES)
    seed_bytes: float = _assume(198.0, "Bytes of a shuffled seed", _STAGES)
    part_s: float = _assume(
        120.0, "Length of a video part, in seconds", "--part_s of clipseed mine"
    )
    overhead: float = _assume(
        1.15,
        "CPU time in process, relative to a plain script (Flink: 2.1 on 8 minutes)",
        _SCALING,
    )
    worker_bytes: float = _assume(
        0.92e9,
        "Memory of a worker of two threads and their decoders, less index and model, "
        "in bytes",
        _SCALING,
    )


class Costs(NamedTuple):
    """What it costs; hours are of one core or one GPU.

    Attributes:
        core_hours: by stage, the runner's share among them.
        gpu_hours: 0 where embedding is done by cores.
        shuffle_bytes: by what is shuffled.
        worker_bytes: memory of a worker process.
        stored_bytes: by what is written.
    """

    core_hours: dict[str, float]
    gpu_hours: float
    shuffle_bytes: dict[str, float]
    worker_bytes: float
    stored_bytes: dict[str, float]


def estimate(
    corpus: Corpus, given: Assumptions, sampling: str = "exact", gpu: str = "none"
) -> Costs:
    """Estimate what a corpus costs.

    Args:
        corpus: what is to be mined.
        given: the constants.
        sampling: `exact` or `keyframe`, as `clipseed mine --sampling`.
        gpu: `none`: cores embed; `embedding`: workers of their own do
            (`--accelerator`), and frames travel to them; `all`: every worker has one.
    """
    count = corpus.hours * 3600 * given.sample_fps
    decode_s = given.exact_decode_s if sampling == "exact" else given.keyframe_decode_s
    embedded, clips = count + corpus.seeds, corpus.seeds * given.clips_per_seed
    seconds = {
        "read seeds": corpus.seeds * given.seed_s,
        "decode": corpus.hours * decode_s,
        "embed": embedded * given.embed_s if gpu == "none" else 0.0,
        "match": count / queries_s(corpus.seeds, given),
        "cut": clips * given.cut_s,
    }
    seconds["runner"] = sum(seconds.values()) * (given.overhead - 1)
    parts = corpus.videos + corpus.hours * 3600 / given.part_s
    shuffled = {
        "parts": parts * given.part_bytes,
        # Each twice: seeds to be loaded and joined; matches to be ranked and into
        # matches/; clips' places to be cut and into pairs/.
        "seeds": 2 * corpus.seeds * given.seed_bytes,
        "matches": 2 * corpus.seeds * given.matches_per_seed * given.match_bytes,
        "clips' places": 2 * clips * (given.match_bytes + given.seed_bytes),
    }
    if gpu == "embedding":
        shuffled["frames"] = embedded * _FRAME_PX * _FRAME_PX * 3
    vectors = 4 * given.dimension
    return Costs(
        core_hours={stage: spent / 3600 for stage, spent in seconds.items()},
        gpu_hours=0.0 if gpu == "none" else embedded / given.gpu_frames_s / 3600,
        shuffle_bytes=shuffled,
        # The index: vectors to recompute similarities from, and what ScaNN searches.
        worker_bytes=given.worker_bytes + 2 * corpus.seeds * vectors,
        stored_bytes={
            "clips": clips * given.clip_bytes,
            "frame embedding cache": count * vectors,
        },
    )


def queries_s(seeds: float, given: Assumptions) -> float:
    """Return the frames that a core matches per second.

    The work is taken to grow with the dimension, and with the seeds (exact search) or
    with their root (a tree with as many leaves as the root).
    """
    slower = given.dimension / _SEARCHED_DIMENSION
    more = max(seeds, 1.0) / _SEARCHED_SEEDS
    if seeds < _EXACT_BELOW:
        return given.exact_queries_s / (slower * more)
    return given.scann_queries_s / (slower * math.sqrt(more))
