"""Measure how fast clips are read and decoded against what a training step needs.

python -m benchmarks.training.input RUN [--config tiny] [--steps 60] [--reading]
    [--json FILE]

In one run: clips a second of the input pipeline alone, of the training step alone (on
one batch again and again, compiled before), and of both together. The pipeline keeps up
where its rate is above the step's; together then takes no longer than the step. With
`--reading` the pipeline alone, as `base` would feed a device that is not here.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.data.loader import Source
from models.training import sharding
from models.training.config import TrainConfig, load_config
from models.training.loop import start
from models.training.overrides import override
from models.training.step import TrainState, make_step
from models.training.task import TrainingBatch


def measure(
    config: TrainConfig, captions: list[str], steps: int, reading: bool = False
) -> dict[str, float]:
    """Return clips per second of the input and, if wanted, of the step and of both."""
    tokenizer = config.task.make_tokenizer(captions)
    data = config.task.training_data(config.data, tokenizer, config.seed)

    def batches(count: int) -> Iterator[TrainingBatch]:
        return data.batches(config.batch_size, 0, count)

    first = next(batches(1))
    began = time.perf_counter()
    for _ in batches(steps):
        pass
    clips = steps * config.batch_size
    figures = {"input_clips_per_s": clips / (time.perf_counter() - began)}
    if reading:
        return figures
    mesh = sharding.data_mesh()
    graph, optimizer, state = start(config, steps, mesh)
    step = make_step(config.task, graph, optimizer, config.micro_batch)
    state, _ = step(state, sharding.to_devices(first.inputs, mesh))  # Compiles.
    state, stepping_s = _run(step, state, [first] * steps, mesh)
    state, both_s = _run(step, state, batches(steps), mesh)
    return figures | {
        "step_clips_per_s": clips / stepping_s,
        "together_clips_per_s": clips / both_s,
    }


def _run(step: Any, state: TrainState, batches: Any, mesh: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    metrics = None
    for batch in batches:
        state, metrics = step(state, sharding.to_devices(batch.inputs, mesh))
    assert metrics is not None
    float(metrics.loss)  # Waits for the device.
    return state, time.perf_counter() - began


def main() -> None:
    """Read the flags, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of `clipseed mine`")
    parser.add_argument("--config", default="tiny")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--reading", action="store_true", help="the pipeline alone")
    parser.add_argument("--json", type=Path)
    flags = parser.parse_args()
    config = replace(load_config(flags.config), data=(Source(flags.run),))
    config = override(config, flags.set)
    figures = measure(config, ["a made caption"], flags.steps, flags.reading)
    text = json.dumps(figures, indent=2)
    print(text)
    if flags.json:
        flags.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
