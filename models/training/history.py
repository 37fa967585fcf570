"""What a model has been trained on, including the runs that it started from.

A result on a benchmark is zero-shot only if the model, and what it started from, saw
nothing of that benchmark; so each training run records its data in `trained_on.json`.
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
        run_dir: its run directory, as named then.
        benchmark: the benchmark that it was cut from, such as `msr_vtt/train`; "" if it
            was mined.
        clips: number of clips.
    """

    run_dir: str
    benchmark: str
    clips: int


def write_lineage(
    output: str, starts_from: Sequence[str], runs: Sequence[RunClips]
) -> None:
    """Record the data of a training run, after those of the runs it starts from.

    Args:
        output: directory of the run.
        starts_from: directories of the training runs whose parameters it takes.
        runs: its data.

    Raises:
        InputError: `no_training_run` if one of them has no such record.
    """
    before = [row for start in starts_from for row in read_lineage(start)]
    now = [
        TrainedOn(run.run_dir, run.benchmark.name if run.benchmark else "", len(run))
        for run in runs
    ]
    rows = [row._asdict() for row in (*before, *now)]
    text = json.dumps(rows, indent=2) + "\n"
    storage.write_bytes(storage.join(output, _FILE), text.encode())


def read_lineage(output: str) -> list[TrainedOn]:
    """Return the data that the model of a training run saw.

    Raises:
        InputError: `no_training_run`.
    """
    uri = storage.join(output, _FILE)
    try:
        rows = json.loads(storage.read_bytes(uri, _MAX_BYTES))
    except (InputError, ValueError) as error:
        raise InputError(
            "no_training_run",
            f"{output} has no record of its training data ({_FILE}); train it again",
        ) from error
    return [TrainedOn(**row) for row in rows]


def setting(lineage: Sequence[TrainedOn], benchmark: str) -> str:
    """Return what a result on a benchmark may be called.

    Args:
        lineage: of the model.
        benchmark: `msr_vtt/test`.

    Returns:
        `zero-shot`, `fine-tuned`, `trained on these very clips`, or `may have been
        trained on some of these clips` for a data set that two protocols divide in two
        ways (most test videos of MSR-VTT's captions are training videos of its 1k-A).
    """
    seen = {row.benchmark for row in lineage} - {""}
    if benchmark in seen:
        return "trained on these very clips"
    protocol = benchmark.partition("/")[0]
    others = {name.partition("/")[0] for name in seen}
    if any(_data_set(other) == _data_set(protocol) for other in others - {protocol}):
        return "may have been trained on some of these clips"
    return "fine-tuned" if protocol in others else "zero-shot"


def _data_set(protocol: str) -> str:
    """Return the data set of a protocol: `msr_vtt` of `msr_vtt_captions`."""
    return protocol.removesuffix("_captions")
