"""What a model has been trained on, back to its pretraining.

A figure on a benchmark is zero-shot only where the model, and what it started from, saw
nothing of that benchmark: so each training run notes its data, `trained_on.json`.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.clips import RunClips

_FILE = "trained_on.json"
_MAX_BYTES = 1 << 24


class TrainedOn(NamedTuple):
    """A data set that a model saw.

    Attributes:
        run_dir: as it was named then.
        benchmark: that it was cut of, `msr_vtt/train`; "" for one that was mined.
        clips: how many.
    """

    run_dir: str
    benchmark: str
    clips: int


def write_lineage(output: str, init: str, runs: Sequence[RunClips]) -> None:
    """Notes what a training run sees, after what it started from had seen.

    Args:
        output: directory of the run.
        init: of the run that it starts from; "": none.
        runs: its data.

    Raises:
        InputError: `no_training_run` if `init` has no such note.
    """
    before = read_lineage(init) if init else []
    now = [
        TrainedOn(run.run_dir, run.benchmark.name if run.benchmark else "", len(run))
        for run in runs
    ]
    rows = [row._asdict() for row in (*before, *now)]
    text = json.dumps(rows, indent=2) + "\n"
    storage.write_bytes(storage.join(output, _FILE), text.encode())


def read_lineage(output: str) -> list[TrainedOn]:
    """What the model of a training run saw.

    Raises:
        InputError: `no_training_run`.
    """
    uri = storage.join(output, _FILE)
    try:
        rows = json.loads(storage.read_bytes(uri, _MAX_BYTES))
    except (InputError, ValueError) as error:
        raise InputError(
            "no_training_run",
            f"{output} does not say what it was trained on ({_FILE}): train it anew",
        ) from error
    return [TrainedOn(**row) for row in rows]


def setting(lineage: Sequence[TrainedOn], benchmark: str) -> str:
    """How a figure on a benchmark is to be read.

    Args:
        lineage: of the model.
        benchmark: `msr_vtt/test`.

    Returns:
        `zero-shot`, `fine-tuned`, or `trained on these very clips`.
    """
    seen = {row.benchmark for row in lineage} - {""}
    if benchmark in seen:
        return "trained on these very clips"
    protocol = benchmark.partition("/")[0]
    related = any(name.partition("/")[0] == protocol for name in seen)
    return "fine-tuned" if related else "zero-shot"
