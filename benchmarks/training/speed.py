"""Measure how fast a model trains, and where the time goes.

python -m benchmarks.training.speed --config tiny
python -m benchmarks.training.speed --config base --peak_tflops 989 --set micro_batch=32

On made clips (or --run RUN): clips per second, model FLOP utilization, peak memory, and
a step's time by part: waiting for the input, moving it to the device, computing. FLOPs
are those that XLA counts in the forward and backward pass over a whole batch, as if
nothing were computed twice: micro-batches and rematerialization do not count as
useful work.
"""

import argparse
import contextlib
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from flax import nnx

from benchmarks.training.made_clips import write_made_run
from clipseed.io.scratch import scratch_folder
from models.data.loader import Source
from models.training import sharding
from models.training.config import TrainConfig, load_config
from models.training.loop import start
from models.training.overrides import override
from models.training.step import TrainState, divide, loss_and_gradients, make_step
from models.training.task import TrainingBatch


class Trainer(NamedTuple):
    """All that a step needs, compiled."""

    step: Any
    state: TrainState
    mesh: Any


def measure(config: TrainConfig, steps: int, peak_tflops: float) -> dict[str, Any]:
    """Train for some steps and account for their time.

    Args:
        config: with data.
        steps: to measure, after one that compiles.
        peak_tflops: of all devices together; 0: utilization is not reported.
    """
    captions = [f"a made caption {number}" for number in range(100)]
    tokenizer = config.task.make_tokenizer(captions)
    data = config.task.training_data(config.data, tokenizer, config.seed)
    batches = data.batches(config.batch_size, 0, steps + 1)
    first = next(batches)
    flops = step_flops(config, first.inputs)
    trainer, compile_s = _compiled(config, steps, first)
    parts = _timed(trainer, batches)
    total_s = sum(parts.values())
    rate = steps / total_s
    figures = {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "batch_size": config.batch_size,
        "steps": steps,
        "clips_per_s": config.batch_size * rate,
        "compile_s": compile_s,
        "step_ms": {name: 1000 * part / steps for name, part in parts.items()},
        "tflop_per_step": flops / 1e12,
        "tflop_per_s": flops / 1e12 * rate,
        "peak_memory_mb": peak_memory_mb(),
    }
    if peak_tflops:
        figures["utilization"] = flops / 1e12 * rate / peak_tflops
    return figures


def step_flops(config: TrainConfig, inputs: Any) -> float:
    """Return the FLOPs of forward and backward pass over a batch, as XLA counts."""
    task, compute = config.task.without_checkpoints(), replace(config, remat=False)
    model = nnx.eval_shape(lambda: task.init(config.seed, compute.compute))
    graph, params, rest = divide(task, model)

    def step(params: Any, rest: Any, batch: Any) -> Any:
        return loss_and_gradients(task, graph, params, rest, batch)

    lowered = jax.jit(step).lower(params, rest, inputs)
    costs = lowered.cost_analysis()
    assert costs is not None, "XLA counts no FLOPs for this device"
    return float(costs["flops"])


def peak_memory_mb() -> dict[str, float]:
    """Return the peak of this process, and of the fullest device if it reports it."""
    # Linux counts in KiB.
    peaks = {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    used = [
        found["peak_bytes_in_use"] for found in stats if "peak_bytes_in_use" in found
    ]
    return peaks | ({"device": max(used) / 2**20} if used else {})


def _compiled(
    config: TrainConfig, steps: int, first: TrainingBatch
) -> tuple[Trainer, float]:
    """Return a trainer after its first step, and how long that took."""
    mesh = sharding.data_mesh()
    graph, optimizer, state = start(config, steps, mesh)
    step = make_step(config.task, graph, optimizer, config.micro_batch)
    began = time.perf_counter()
    state, metrics = step(state, sharding.to_devices(first.inputs, mesh))
    float(metrics.loss)  # Waits for the device.
    return Trainer(step, state, mesh), time.perf_counter() - began


def _timed(trainer: Trainer, batches: Iterator[TrainingBatch]) -> dict[str, float]:
    """Return the seconds of each part; input is read meanwhile, as in training."""
    parts = {"input": 0.0, "transfer": 0.0, "compute": 0.0}
    state = trainer.state
    while True:
        marks = [time.perf_counter()]
        batch = next(batches, None)
        marks.append(time.perf_counter())
        if batch is None:
            return parts
        arrays = sharding.to_devices(batch.inputs, trainer.mesh)
        jax.block_until_ready(arrays)
        marks.append(time.perf_counter())
        state, metrics = trainer.step(state, arrays)
        float(metrics.loss)
        marks.append(time.perf_counter())
        for name, began, ended in zip(parts, marks, marks[1:], strict=False):
            parts[name] += ended - began


@contextlib.contextmanager
def _run_dir(given: str, clips: int) -> Iterator[str]:
    if given:
        yield given
        return
    with scratch_folder() as scratch:
        write_made_run(Path(scratch), clips)
        yield scratch


def main() -> None:
    """Read the flags, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--run", default="", help="run directory of `clipseed mine` (made clips)")
    add("--config", default="tiny")
    add("--set", action="append", default=[], metavar="FIELD=VALUE")
    add("--steps", type=int, default=20)
    add("--clips", type=int, default=32, help="to make where there is no --run")
    add("--peak_tflops", type=float, default=0.0,
        help="of all devices, for the dtype of the configuration")  # fmt: skip
    add("--json", type=Path)
    flags = parser.parse_args()
    with _run_dir(flags.run, flags.clips) as run:
        config = replace(load_config(flags.config), data=(Source(run),))
        config = override(config, flags.set)
        figures = measure(config, flags.steps, flags.peak_tflops)
    text = json.dumps(figures, indent=2)
    print(text)
    if flags.json:
        flags.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
