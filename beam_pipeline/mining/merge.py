"""The run that `--merge_with` names, and whether this one can be merged with it."""

import contextlib
import sys
from collections.abc import Iterator

from beam_pipeline.mining.config import MineConfig
from beam_pipeline.mining.plan import Plan
from clipseed.errors import InputError
from clipseed.run.manifest import MiningFacts
from clipseed.run.reader import Run
from transforms.run.merge import SEEDS_DIFFER

# What must be the same for the two runs to be parts of one.
_SAME = ("sample_fps", "sampling", "clip_s", "clip_fps", "require_sound", "num_shards")


def find_base_run(config: MineConfig, plan: Plan) -> Run | None:
    """Open the base run; None if there is none.

    Raises:
        InputError: it is not a finished run (`not_a_run`, `not_mined`), files of it are
            missing (`damaged_run`), or it was mined otherwise (`cannot_merge`).
    """
    place = config.merge_with
    if place is None:
        return None
    try:
        run = Run.open(place, verify="nothing")
        mining = run.mining
        problem = next(_differences(config, plan, mining), None)
        if problem:
            raise InputError("cannot_merge", problem)
        return Run.open(place, verify="sizes")
    except InputError as error:
        message = f"--merge_with {place}: {error.message}"
        raise InputError(error.reason, message) from error


@contextlib.contextmanager
def refusing_other_seeds(base_run: Run | None) -> Iterator[None]:
    """Say in one line when the job found that the seeds are not those of the base run.

    Raises:
        SystemExit: 2, as for a wrong flag.
    """
    try:
        yield
    except Exception as error:  # Each runner wraps in its own way what a step raised.
        if base_run is None or SEEDS_DIFFER not in str(error):
            raise
        print(
            f"clipseed mine: --merge_with {base_run.uri}: {SEEDS_DIFFER}: mine with "
            "the same --seeds, or without --merge_with",
            file=sys.stderr,
        )
        raise SystemExit(2) from error


def _differences(config: MineConfig, plan: Plan, base: MiningFacts) -> Iterator[str]:
    """Yield why the two would not be what one run over all videos is."""
    then = base.config
    for name in _SAME:
        now = getattr(config, name)
        if then[name] != now:
            yield f"it was mined with --{name}={then[name]}, not {now}"
    if base.embedder != plan.info.embedder_id:
        yield (
            f"it was mined with the embedder {base.embedder}, not "
            f"{plan.info.embedder_id}"
        )
    gap_s = then["clip_s"] if then["min_gap_s"] is None else then["min_gap_s"]
    if round(gap_s * 1_000_000) != config.gap_us:
        yield f"it was mined with --min_gap_s={gap_s}, not {config.gap_us / 1e6:g}"
    if config.top_k > then["top_k"]:
        yield f"it has no clips beyond the best {then['top_k']}; lower --top_k"
    # It has stored matches between the thresholds, but has no clips of them.
    if plan.info.threshold < base.threshold:
        yield f"it has no clips below {base.threshold:g}; raise --threshold"
    if plan.info.min_similarity < base.min_similarity:
        lowest = base.min_similarity
        yield f"it has no matches below {lowest:g}; raise --min_similarity"
    if plan.index is not None and plan.index.manifest.count != base.index.seeds:
        seeds = plan.index.manifest.count
        yield f"its index had {base.index.seeds} seeds, --index has {seeds}"
