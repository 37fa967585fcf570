"""A trained model, read back from its output directory."""

import contextlib
import json
from typing import Any, NamedTuple

from flax import nnx

from clipseed.errors import InputError
from clipseed.io import storage
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.training.checkpoints import Checkpoints
from models.training.config import TrainConfig
from models.training.history import TrainedOn, read_lineage
from models.training.overrides import from_json
from models.training.step import divide
from models.training.task import Task
from models.training.tasks import task_named

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
_MAX_BYTES = 1 << 26


class Trained(NamedTuple):
    """The result of `clipseed train`.

    Attributes:
        config: that it was trained with.
        model: of the task `config.task`, with its last parameters.
        tokenizer: of its captions.
        lineage: the data that it has seen.
    """

    config: TrainConfig
    model: Any
    tokenizer: CaptionTokenizer
    lineage: list[TrainedOn]


def load_trained(output: str) -> Trained:
    """Read a trained model.

    Args:
        output: directory of `clipseed train`.

    Raises:
        InputError: `no_training_run`, `no_checkpoint`, `checkpoint_mismatch`.
    """
    config = read_config(output)
    model = config.task.without_checkpoints().init(config.seed, config.compute)
    load_into(config.task, model, output)
    return Trained(config, model, read_tokenizer(output), read_lineage(output))


def load_into(task: Task, model: nnx.Module, output: str) -> None:
    """Set the variables of a model to those of a training run of the same task.

    Raises:
        InputError: `no_checkpoint`, `checkpoint_mismatch`.
    """
    _, params, rest = divide(task, model)
    with Checkpoints(output) as checkpoints:
        found = checkpoints.restore_variables({"params": params, "rest": rest})
    nnx.update(model, *found.values())


def read_config(output: str) -> TrainConfig:
    """Return the configuration of a training run.

    Raises:
        InputError: `no_training_run`; `bad_config` for one of another version.
    """
    settings = read_settings(output)
    task = task_named(settings.get("task", {}).get("class"))
    return from_json(TrainConfig(task=task), settings)


def read_settings(output: str) -> dict[str, Any]:
    """Return what `config.json` of a training run holds.

    Raises:
        InputError: `no_training_run`; `bad_config` if it is damaged.
    """
    settings: Any = None
    with contextlib.suppress(ValueError):
        settings = json.loads(_read(output, CONFIG))
    if not isinstance(settings, dict):
        raise InputError(
            "bad_config",
            f"{storage.join(output, CONFIG)} is damaged; restore it from a copy, or "
            "train into another directory",
        )
    return settings


def read_tokenizer(output: str) -> CaptionTokenizer:
    """Return the tokenizer of a training run.

    Raises:
        InputError: `no_training_run`, `bad_tokenizer`.
    """
    return CaptionTokenizer.from_json(_read(output, TOKENIZER))


def _read(output: str, name: str) -> str:
    try:
        return storage.read_bytes(storage.join(output, name), _MAX_BYTES).decode()
    except (InputError, ValueError) as error:
        raise InputError(
            "no_training_run",
            f"{output} is not a training run, as it has no {name}; run `clipseed "
            "train` first",
        ) from error
