"""The training loop: read, step, log, save; an interrupted run resumes.

    train(load_config("tiny", ["data=..."]), "out")

The output directory holds `config.json`, `tokenizer.json`, `trained_on.json`,
`checkpoints/`, `metrics.csv` and `tensorboard/`. What is trained is up to the task of
the configuration; nothing here knows of a model.
"""

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.reader import Run
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.training import sharding
from models.training.checkpoints import CHECKPOINTS, Checkpoints, saved_steps
from models.training.config import TrainConfig
from models.training.history import write_lineage
from models.training.load import (
    CONFIG,
    TOKENIZER,
    load_into,
    read_settings,
    read_tokenizer,
)
from models.training.log import EVENTS, TrainLog
from models.training.optimizers import make_optimizer, mask_of
from models.training.overrides import as_json
from models.training.step import Metrics, TrainState, divide, make_step
from models.training.task import TrainingBatch, TrainingBatches

# Settings that may differ between the attempts at one run.
_FREE = ("checkpoint_every", "keep", "log_every", "micro_batch", "remat", "shard_from")


def train(config: TrainConfig, output: str) -> Metrics:
    """Train a model, or resume its training.

    Args:
        config: see `TrainConfig`.
        output: local directory.

    Returns:
        The metrics of the last step; NaN if no step was left.

    Raises:
        InputError: bad data; `other_config` if the directory holds another run; or
            `not_finite` with the step and the clips, after saving the state before it.
    """
    if config.epochs and not config.data:
        raise InputError("no_data", "name a run to train on: --data RUN_DIR")
    config = dataclasses.replace(config, task=config.task.adopted())
    sharding.check_batch(config.batch_size, config.micro_batch)
    directory = Path(output)
    begun = _is_begun(config, directory)
    tokenizer = (
        read_tokenizer(output)
        if begun
        else config.task.make_tokenizer(_captions(config))
    )
    data = config.task.training_data(config.data, tokenizer, config.seed)
    steps = config.steps(len(data))
    mesh = sharding.data_mesh()
    graph, optimizer, state = start(config, steps, mesh)
    step_fn = make_step(config.task, graph, optimizer, config.micro_batch)
    if not begun:
        _begin(config, tokenizer, directory)
    starts_from = (config.init, *config.task.starts_from())
    write_lineage(output, [*filter(None, starts_from)], data.runs)
    with Checkpoints(output, config.keep) as checkpoints:
        state = checkpoints.resume(state)
        first = int(state.step)
        if checkpoints.latest is not None:
            logging.info("resuming after step %d", first)
        last: Metrics | None = None
        with TrainLog(directory, first, steps, config.log_every) as log:
            for step, batch in _batches(config, data, first, steps):
                inputs = sharding.to_devices(batch.inputs, mesh)
                state, last = step_fn(state, inputs)
                if not last.finite:
                    checkpoints.save(state, step - 1)
                    raise _not_finite(step, batch, output)
                log.add(step, config.batch_size, last)
                if step % config.checkpoint_every == 0 or step == steps:
                    checkpoints.save(state, step)
        if last is None and checkpoints.latest is None:
            checkpoints.save(state, first)  # No epoch: the model as initialized.
    return last if last is not None else _no_step()


def _batches(
    config: TrainConfig, data: TrainingBatches, first: int, steps: int
) -> Iterator[tuple[int, TrainingBatch]]:
    """Yield this host's batches after step `first`, with their steps from 1."""
    batches = data.batches(
        config.batch_size, first, steps, jax.process_index(), jax.process_count()
    )
    return enumerate(batches, start=first + 1)


def start(
    config: TrainConfig, steps: int, mesh: Mesh
) -> tuple[nnx.GraphDef, optax.GradientTransformation, TrainState]:
    """Return the graph of the model, the optimizer, and the state before any step."""
    task = config.task
    model = task.init(config.seed, config.compute)
    if config.init:
        load_into(task, model, config.init)
    graph, params, rest = divide(task, model)
    slow = None
    if config.optimizer.pretrained_rate != 1:
        modules = task.pretrained(model, bool(config.init))
        slow = mask_of(params, model, modules)
    optimizer = make_optimizer(config.optimizer, steps, slow)
    state = TrainState(jnp.int32(0), params, optimizer.init(params), rest)
    return graph, optimizer, sharding.place(state, mesh, config.shard_from)


def _is_begun(config: TrainConfig, directory: Path) -> bool:
    """Tell whether a directory holds the beginning of this run.

    What has not reached a checkpoint cannot be resumed, so that a command which failed
    at its start can be corrected and given again.

    Raises:
        InputError: `other_config` if it holds the beginning of another run.
    """
    if not (directory / CONFIG).exists():
        return False
    before, settings = read_settings(str(directory)), as_json(config)
    saved = saved_steps(directory)
    if not any(saved) and not (saved and before.get("epochs") == 0):
        return False
    names = (settings.keys() | before.keys()) - set(_FREE)
    differ = sorted(k for k in names if before.get(k) != settings.get(k))
    if differ:
        raise InputError(
            "other_config",
            f"{directory} holds a run with another {', '.join(differ)}; resume "
            "with the same settings, or choose another output",
        )
    return True


def _begin(config: TrainConfig, tokenizer: CaptionTokenizer, directory: Path) -> None:
    """Write settings and tokenizer, in place of those of a failed start."""
    if (directory / CONFIG).exists():
        for name in (CHECKPOINTS, EVENTS):
            shutil.rmtree(directory / name, ignore_errors=True)
    _write(directory / TOKENIZER, tokenizer.to_json())
    _write(directory / CONFIG, json.dumps(as_json(config), indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    storage.write_bytes(str(path), text.encode())


def _captions(config: TrainConfig) -> Iterator[str]:
    """Yield the captions of all runs, from `pairs.csv`."""
    for source in config.data:
        for pair in Run.open(source.run_dir, verify="nothing").pairs_csv():
            yield pair.caption


def _not_finite(step: int, batch: TrainingBatch, output: str) -> InputError:
    return InputError(
        "not_finite",
        f"the loss or its gradient became NaN or infinite in step {step}; the state "
        f"before it is saved in {output}. Clips of the step: {', '.join(batch.ids)}. "
        "Lower the learning rate, or look at these clips",
    )


def _no_step() -> Metrics:
    """Return the metrics of a run that had no step left."""
    nan = jnp.float32(np.nan)
    return Metrics(nan, nan, jnp.float32(1), {})
