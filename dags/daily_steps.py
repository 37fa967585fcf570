"""The steps of `clipseed_daily` around the mining, each a command of its own.

    PYTHON daily_steps.py list --videos corpus.csv --output mined --day 2026-01-01

`PYTHON` is the interpreter that has Clipseed; Airflow's does not have it. The last line
printed is the step's result in JSON, or the reason for having none. The exit status is
for the scheduler: 0 continue, 1 retry, 2 fail, 99 skip the following steps.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from check_run import Limits, problems_of
from day_manifest import uploads_of, write_manifest
from published import (
    describe,
    find,
    free_place,
    publish,
    read_published,
    without_day,
    write_published,
)
from training import new_pairs, read_trained, training_of, write_trained

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.reader import Run

_OK, _AGAIN, _REFUSED, _NOTHING = 0, 1, 2, 99


class Stop(Exception):
    """Ends a step with an exit status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Run a step; return its exit status."""
    flags = _parser().parse_args(argv)
    try:
        result = flags.step(flags)
    except Stop as stop:
        print(stop, flush=True)
        return stop.status
    except InputError as error:  # A file may not exist yet, or a bucket may be down.
        print(f"{error.reason}: {error.message}", flush=True)
        return _AGAIN
    print(json.dumps(result), flush=True)
    return _OK


def list_uploads(flags: argparse.Namespace) -> dict[str, Any]:
    """Write the manifest of a day's uploads; return the flags to mine it with."""
    for name in ("seeds", "videos", "output"):
        _check_place(name, getattr(flags, name))
    day = flags.day.isoformat()
    uploaded = flags.day - timedelta(days=flags.delay_days)
    found = uploads_of(flags.videos, uploaded)
    print(f"uploaded on {uploaded}: {found.counts}")
    for dropped in found.dead_letters:
        print(f"row without a day: {dropped.key}: {dropped.message}")
    runs = read_published(flags.output)
    if not found.entries:
        raise _nothing(flags, day, find(runs, day) is not None)
    manifest = storage.join(flags.output, f"manifests/{day}.csv")
    write_manifest(found.entries, manifest)
    return {
        **flags.mine_flags,
        "seeds": flags.seeds,
        "videos": manifest,
        "output": storage.join(flags.output, free_place(runs, day)),
        "as_of": (flags.day + timedelta(days=1)).isoformat(),
        "min_age_days": flags.delay_days,
    }


def _check_place(name: str, place: str) -> None:
    if not place:
        raise Stop(
            _REFUSED,
            f"the parameter {name} is empty: give it with the run, or set "
            f"CLIPSEED_DAILY_{name.upper()} where Airflow's scheduler starts",
        )
    if not (place.startswith("/") or storage.is_remote(place)):
        message = f"the parameter {name} is {place!r}: give a whole path, or gs://"
        raise Stop(_REFUSED, message)


def _nothing(flags: argparse.Namespace, day: str, published: bool) -> Stop:
    if not published:
        return Stop(_NOTHING, f"{flags.videos} lists no upload for {day}")
    return Stop(
        _REFUSED,
        f"{day} is published, but {flags.videos} now lists no upload for it: mend the "
        f"manifest, or take the day back with: daily_steps.py retract "
        f"--output {flags.output} --day {day}",
    )


def check(flags: argparse.Namespace) -> dict[str, Any]:
    """Hold a run against its checksums, its sums and the runs before it."""
    run = Run.open(flags.run, verify="nothing")
    day = flags.day.isoformat()
    limits = Limits(flags.min_match_rate, flags.last_runs, flags.min_expected)
    candidate = describe(day, flags.run, run)
    published = read_published(flags.output)
    problems = [
        *run.problems("checksums"),
        *problems_of(run.mining.accounting, candidate, published, limits),
    ]
    if problems:
        print("\n".join(problems))
        raise Stop(_REFUSED, f"not published: {'; '.join(problems)}")
    return {"matches": candidate.matches, "frames": candidate.frames}


def publish_day(flags: argparse.Namespace) -> dict[str, Any]:
    """Move the pointer to a run that was checked."""
    day = flags.day.isoformat()
    root = flags.output.rstrip("/") + "/"
    new = describe(day, flags.run.removeprefix(root), Run.open(flags.run))
    now = publish(flags.output, new)
    print(f"{day}: {now.run}" + ("" if now is new else ", the same as before"))
    return {"run": now.run, "pairs": now.pairs}


def retract(flags: argparse.Namespace) -> dict[str, Any]:
    """Take a day off the published list; its files stay."""
    runs = read_published(flags.output)
    left = without_day(runs, flags.day.isoformat())
    if len(left) != len(runs):
        write_published(flags.output, left)
    return {"taken_back": len(runs) - len(left)}


def train(flags: argparse.Namespace) -> dict[str, Any]:
    """Train on all that is published, if enough of it is new."""
    runs = read_published(flags.output)
    models = flags.models or storage.join(flags.output, "models")
    if storage.is_remote(models):
        message = f"training writes to a disk: set the parameter models, not {models}"
        raise Stop(_REFUSED, message)
    found = new_pairs(runs, read_trained(models))
    if found < max(flags.min_new_pairs, 1):
        raise Stop(_NOTHING, f"{found} new pairs; {flags.min_new_pairs} are asked for")
    from beam_pipeline.commands.train import run

    training = training_of(runs, [flags.config, *flags.set])
    folders = [
        storage.join(flags.output, r.run) for r in runs if r.day in training.days
    ]
    output = storage.join(models, training.name)
    print(f"{found} new pairs: training on {len(folders)} runs into {output}")
    status = run(
        [
            flags.config,
            f"--output={output}",
            *(f"--data={folder}" for folder in folders),
            *(f"--set={setting}" for setting in flags.set),
        ]
    )
    if status:
        raise Stop(status, f"`clipseed train` ended with {status}: see above")
    write_trained(models, training)
    return {"model": output, "new_pairs": found}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="daily_steps.py")
    steps = parser.add_subparsers(required=True)
    _add_day_flags(steps)
    add = _step(steps, "train", train)
    add("--models", default="", help="folder of training runs (default: in --output)")
    add("--min_new_pairs", type=int, required=True)
    add("--config", required=True, help="of `clipseed train`")
    add("--set", type=json.loads, default=[], help="FIELD=VALUE, a JSON list")
    return parser


def _add_day_flags(steps: Any) -> None:
    add = _step(steps, "list", list_uploads)
    _add_day(add)
    add("--seeds", required=True)
    add("--videos", required=True, help="manifest with upload dates")
    add("--delay_days", type=int, default=0, help="mine the uploads of so long before")
    add("--mine_flags", type=json.loads, default={}, help="more flags, JSON")
    add = _step(steps, "check", check)
    _add_day(add)
    add("--run", required=True, help="run directory")
    add("--min_match_rate", type=float, default=Limits.min_rate)
    add("--last_runs", type=int, default=Limits.last_runs)
    add("--min_expected", type=float, default=Limits.min_expected)
    add = _step(steps, "publish", publish_day)
    _add_day(add)
    add("--run", required=True, help="run directory")
    _add_day(_step(steps, "retract", retract))


def _step(steps: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    parser = steps.add_parser(name, description=function.__doc__)
    parser.set_defaults(step=function)
    parser.add_argument("--output", required=True, help="folder of latest.json")
    return parser.add_argument


def _add_day(add: Callable[..., Any]) -> None:
    add("--day", type=date.fromisoformat, required=True, help="2026-01-31")


if __name__ == "__main__":
    sys.exit(main())
