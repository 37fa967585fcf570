"""The run that `--merge_with` names, and whether this one can be merged with it."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from beam_pipeline.commands.inspect import damage, open_run
from beam_pipeline.mining.config import MineConfig
from beam_pipeline.mining.plan import Plan
from clipseed.errors import InputError
from transforms.run.merge import SEEDS_DIFFER, BaseRun

# What must be the same for the two runs to be parts of one.
_SAME = ("sample_fps", "sampling", "clip_s", "clip_fps", "require_sound", "num_shards")


def find_older(config: MineConfig, plan: Plan) -> BaseRun | None:
    """Opens the older run; None where none is given.

    Raises:
        InputError: it is not a finished run (`not_found`, `not_a_run`), files of it are
            missing (`damaged_run`), or it was mined otherwise (`cannot_merge`).
    """
    place = config.merge_with
    if place is None:
        return None
    run = open_run(place)
    problem = next(_differences(config, plan, run), None)
    if problem:
        raise InputError("cannot_merge", f"--merge_with {place}: {problem}")
    problem = next(damage(place, run, verify=False), None)
    if problem:
        message = f"--merge_with {place}: {problem}: copy it again, or mine it again"
        raise InputError("damaged_run", message)
    return BaseRun(
        place,
        tuple(file["path"] for file in run["files"]),
        tuple(run["counts"].items()),
        run["seeds_fingerprint"],
        config.num_shards,
    )


@contextlib.contextmanager
def refusing_other_seeds(older: BaseRun | None) -> Iterator[None]:
    """Tells in a line when the job found that the seeds are not the older run's.

    Raises:
        SystemExit: 2, as for a wrong flag.
    """
    try:
        yield
    except Exception as error:  # Each runner wraps in its own way what a step raised.
        if older is None or SEEDS_DIFFER not in str(error):
            raise
        print(
            f"clipseed mine: --merge_with {older.run_dir}: {SEEDS_DIFFER}: mine with "
            "the same --seeds, or without --merge_with",
            file=sys.stderr,
        )
        raise SystemExit(2) from error


def _differences(config: MineConfig, plan: Plan, run: dict[str, Any]) -> Iterator[str]:
    """Why the two would not be what one run over all videos is."""
    then = run["config"]
    if "seeds_fingerprint" not in run:
        yield "an earlier version of clipseed mined it; mine it again"
        return
    for name in _SAME:
        now = getattr(config, name)
        if then[name] != now:
            yield f"it was mined with --{name}={then[name]}, not {now}"
    if run["embedder"] != plan.info.embedder_id:
        yield (
            f"it was mined with the embedder {run['embedder']}, not "
            f"{plan.info.embedder_id}"
        )
    gap_s = then["clip_s"] if then["min_gap_s"] is None else then["min_gap_s"]
    if round(gap_s * 1_000_000) != config.gap_us:
        yield f"it was mined with --min_gap_s={gap_s}, not {config.gap_us / 1e6:g}"
    if config.top_k > then["top_k"]:
        yield f"it has no clips beyond the best {then['top_k']}; lower --top_k"
    # Of matches between the thresholds it knows, but has no clips.
    if plan.info.threshold < run["threshold"]:
        yield f"it has no clips below {run['threshold']:g}; raise --threshold"
    if plan.info.min_similarity < run["min_similarity"]:
        lowest = run["min_similarity"]
        yield f"it has no matches below {lowest:g}; raise --min_similarity"
    if plan.index is not None and plan.index.manifest.count != run["index"]["seeds"]:
        seeds = plan.index.manifest.count
        yield f"its index had {run['index']['seeds']} seeds, --index has {seeds}"
