"""The training loop: read, step, note, save; taken up again where it stopped.

    train(load_config("tiny", ["data=..."]), "out")

The output directory holds `config.json`, `tokenizer.json`, `trained_on.json`,
`checkpoints/`, `metrics.csv` and `tensorboard/`.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.reader import Run
from models.data.loader import Batch, TrainingData
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.training import sharding
from models.training.checkpoints import Checkpoints
from models.training.config import TrainConfig
from models.training.factory import make_model, make_tokenizer
from models.training.history import write_lineage
from models.training.log import TrainLog
from models.training.optimizers import make_optimizer
from models.training.overrides import as_json
from models.training.step import Metrics, TrainState, make_step

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
_MAX_BYTES = 1 << 26
# What may change between the attempts at one run.
_FREE = ("checkpoint_every", "keep", "log_every", "micro_batch", "remat", "shard_from")


def train(config: TrainConfig, output: str) -> Metrics:
    """Trains a model, or goes on with it.

    Args:
        config: see `TrainConfig`.
        output: local directory.

    Returns:
        The metrics of the last step.

    Raises:
        InputError: bad data, `other_config` if another run lies there, or `not_finite`
            with the step and the clips, after saving the state before it.
    """
    if config.epochs and not config.data:
        raise InputError("no_data", "name a run to train on: --data RUN_DIR")
    sharding.check_batch(config.batch_size, config.micro_batch)
    directory = Path(output)
    tokenizer = _prepare(config, directory)
    data = TrainingData(
        config.data,
        config.segment,
        config.augment,
        tokenizer,
        config.seed,
    )
    write_lineage(output, config.init, data.runs)
    steps = config.steps(len(data))
    mesh = sharding.data_mesh()
    graph, optimizer, state = _start(config, steps, mesh)
    step_fn = make_step(graph, optimizer, config.micro_batch)
    with Checkpoints(output, config.keep) as checkpoints:
        if checkpoints.latest is not None:
            state = checkpoints.restore(state)
            logging.info("going on after step %d", int(state.step))
        first = int(state.step)
        batches = data.batches(
            config.batch_size, first, steps, jax.process_index(), jax.process_count()
        )
        last: Metrics | None = None
        with TrainLog(directory, first, steps, config.log_every) as log:
            for step, batch in enumerate(batches, start=first + 1):
                arrays = sharding.to_devices(batch.arrays, mesh)
                state, last = step_fn(state, arrays)
                if not last.finite:
                    checkpoints.save(state, step - 1)
                    raise _not_finite(step, batch, output)
                log.add(step, config.batch_size, last)
                if step % config.checkpoint_every == 0 or step == steps:
                    checkpoints.save(state, step)
        if checkpoints.latest is None:
            checkpoints.save(state, first)  # Of no epoch: the model as it starts.
    return last if last is not None else _no_step()


def _start(config: TrainConfig, steps: int, mesh: Any) -> tuple[Any, Any, TrainState]:
    """Model graph, optimizer, and the state before the first step."""
    model = make_model(config)
    if config.init:
        load_into(model, config.init)
    graph, params = nnx.split(model, nnx.Param)
    slow = None
    if config.optimizer.pretrained_rate != 1:
        slow = _pretrained(config, params)
    optimizer = make_optimizer(config.optimizer, steps, slow)
    state = TrainState(jnp.int32(0), params, optimizer.init(params))
    return graph, optimizer, sharding.place(state, mesh, config.shard_from)


def load_into(model: nnx.Module, output: str, step: int | None = None) -> None:
    """Sets a model's parameters to those of a training run.

    Raises:
        InputError: `no_checkpoint`, `checkpoint_mismatch`.
    """
    params = nnx.state(model, nnx.Param)
    with Checkpoints(output) as checkpoints:
        nnx.update(model, checkpoints.restore_params(params, step))


def read_run(output: str) -> tuple[dict[str, Any], CaptionTokenizer]:
    """Return the configuration and the tokenizer that a run was trained with.

    Raises:
        InputError: `no_training_run`.
    """
    try:
        config, tokenizer = (
            storage.read_bytes(storage.join(output, name), _MAX_BYTES).decode()
            for name in (CONFIG, TOKENIZER)
        )
        return json.loads(config), CaptionTokenizer.from_json(tokenizer)
    except (InputError, ValueError) as error:
        raise InputError(
            "no_training_run", f"{output} is no training run: train there first"
        ) from error


def _prepare(config: TrainConfig, directory: Path) -> CaptionTokenizer:
    """Writes settings and vocabulary, or holds them against those that are there."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = as_json(config)
    path = directory / CONFIG
    if path.exists():
        before = as_json(TrainConfig()) | json.loads(path.read_text())
        differ = [
            k for k in settings if k not in _FREE and before.get(k) != settings[k]
        ]
        if differ:
            raise InputError(
                "other_config",
                f"{directory} holds a run with another {', '.join(differ)}: go on with "
                "the same settings, or give another output",
            )
        return CaptionTokenizer.from_json((directory / TOKENIZER).read_text())
    tokenizer = make_tokenizer(config, _captions(config))
    (directory / TOKENIZER).write_text(tokenizer.to_json())
    path.write_text(json.dumps(settings, indent=2) + "\n")
    return tokenizer


def _captions(config: TrainConfig) -> Iterator[str]:
    """The captions of all runs, from `pairs.csv`."""
    for source in config.data:
        for pair in Run.open(source.run_dir, verify="nothing").pairs_csv():
            yield pair.caption


def _pretrained(config: TrainConfig, params: Any) -> Any:
    """Which parameters came from a checkpoint, by where they stand."""
    given = {
        "streams": config.vision or config.init,
        "text": config.text or config.init,
        "clip": config.clip or config.init,
    }
    loaded = [f"'{name}'" for name, checkpoint in given.items() if checkpoint]

    def is_loaded(path: Any, _: Any) -> bool:
        place = jax.tree_util.keystr(path)
        return any(name in place for name in loaded)

    return jax.tree_util.tree_map_with_path(is_loaded, params)


def _not_finite(step: int, batch: Batch, output: str) -> InputError:
    return InputError(
        "not_finite",
        f"loss or gradient of step {step} is no finite number; the state before it is "
        f"in {output}. Its clips: {', '.join(batch.ids)}. Lower the learning rate, or "
        "look at these clips",
    )


def _no_step() -> Metrics:
    """What a run says that was at its end already, or of no epoch."""
    nan = np.float32(np.nan)
    return Metrics(nan, nan, nan, np.float32(1))
