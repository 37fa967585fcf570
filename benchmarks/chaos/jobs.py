"""The jobs that are disturbed: how each is started, and what its result is."""

import csv
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.fuzz.corpus import GOOD_VIDEOS, write_corpus
from clipseed.run.reader import Run

_MINE = (
    "--num_shards=2", "--part_s=1", "--clip_s=1", "--clip_fps=5", "--as_of=2025-01-02",
    "--sample_fps=4", "--min_gap_s=0",
)  # fmt: skip
_TRAINING = """
import dataclasses
from tests.support.models.tiny_config import TINY_TRAINING
config = dataclasses.replace(TINY_TRAINING, epochs=40, checkpoint_every=10)
"""


class ChaosJob(NamedTuple):
    """A job that can be started again and again.

    Attributes:
        name: as the table calls it.
        arguments: returns those of `clipseed` for an output.
        result: returns what must not differ, by name, of a finished output.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    result: Callable[[Path], dict[str, str]]


def mining(root: Path) -> ChaosJob:
    """Mine three films of four seconds, each in four parts."""
    corpus = write_corpus(root / "corpus", 0, 0)
    places = [f"--seeds={corpus.seeds}", f"--videos={corpus.videos}"]
    return ChaosJob(
        "mine", lambda out: ["mine", *places, f"--output={out}", *_MINE], run_result
    )


def merging(root: Path, mined: ChaosJob, run: Callable[[list[str]], None]) -> ChaosJob:
    """Mine the third film, merged with a base run over the first two."""
    videos = root / "corpus" / "videos"
    tables = {"old": GOOD_VIDEOS[:2], "new": GOOD_VIDEOS[2:]}
    for name, chosen in tables.items():
        with (videos / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("video",), *((video,) for video in chosen)])

    def arguments(out: Path, name: str) -> list[str]:
        return [*mined.arguments(out), f"--videos={videos / name}.csv"]

    base = root / "base_run"
    run(arguments(base, "old"))
    return ChaosJob(
        "merge",
        lambda out: [*arguments(out, "new"), f"--merge_with={base}"],
        run_result,
    )


def training(root: Path, data: Path) -> ChaosJob:
    """Train a tiny dual encoder on the mined clips; checkpoints every ten steps."""
    config = root / "training.py"
    config.write_text(_TRAINING)
    return ChaosJob(
        "train",
        lambda out: ["train", str(config), f"--data={data}", f"--output={out}"],
        training_result,
    )


def run_result(output: Path) -> dict[str, str]:
    """Return the checksums of a run's files, `run.json` has them all."""
    files = Run.open(output, verify="checksums").manifest.files
    return {file.path: file.sha256 for file in files}


def training_result(output: Path) -> dict[str, str]:
    """Return a checksum of the parameters, bit by bit, and the losses at each step."""
    import jax
    import numpy as np
    from flax import nnx

    from models.training.load import load_trained

    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(nnx.state(load_trained(str(output)).model)):
        digest.update(np.asarray(leaf).tobytes())
    with (output / "metrics.csv").open(newline="") as file:
        losses = {f"loss at {row['step']}": row["loss"] for row in csv.DictReader(file)}
    return {"parameters": digest.hexdigest(), **losses}
