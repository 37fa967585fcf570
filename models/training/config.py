"""All settings that decide a training run, in one frozen tree.

    config = load_config("tiny", ["batch_size=16", "task.model.clips.layers=2"])

A configuration is a Python file with a `config`; the published ones are in
`models/configs`. Pretraining and fine-tuning are the same command with different ones.
"""

import dataclasses
import importlib
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from clipseed.errors import InputError
from models.data.loader import Source
from models.nn.attention import Compute
from models.training.optimizers import OptimizerConfig
from models.training.overrides import override
from models.training.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run; the defaults are the paper's.

    Attributes:
        task: what is trained, on which segments of the clips.
        data: the runs to train on, with their weights.
        optimizer: how parameters are updated.
        batch_size: examples per step, over all devices.
        micro_batch: examples that are processed at once; 0: all.
        epochs: how often each example is seen; 0: never, the model is saved as it is
            initialized.
        seed: of parameters, order and augmentation.
        init: a finished training run of the same task to start from.
        dtype: of the computation; parameters are float32.
        remat: recompute blocks in the backward pass: less memory, more time.
        shard_from: parameters of at least so many numbers are split over the devices.
        checkpoint_every: steps between checkpoints.
        keep: number of checkpoints to keep.
        log_every: steps between rows of the metrics.
    """

    task: Task
    data: tuple[Source, ...] = ()
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    batch_size: int = 256
    micro_batch: int = 0
    epochs: float = 4.0
    seed: int = 0
    init: str = ""
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False
    shard_from: int = 0
    checkpoint_every: int = 500
    keep: int = 2
    log_every: int = 10

    def __post_init__(self) -> None:
        """Check what would otherwise fail in the middle of a run.

        Raises:
            InputError: `bad_config`.
        """
        if min(self.checkpoint_every, self.keep, self.log_every) < 1:
            raise InputError(
                "bad_config", "checkpoint_every, keep and log_every must be 1 or more"
            )
        if self.epochs < 0 or self.micro_batch < 0:
            raise InputError("bad_config", "epochs and micro_batch must be 0 or more")
        self.task.check()

    @property
    def compute(self) -> Compute:
        """Precision and cost of the model."""
        dtype = jnp.bfloat16 if self.dtype == "bfloat16" else jnp.float32
        return Compute(dtype=dtype, remat=self.remat)

    def steps(self, examples: int) -> int:
        """Return the number of steps over a number of examples."""
        least = 1 if self.epochs else 0
        return max(least, round(self.epochs * examples / self.batch_size))


def load_config(name: str, settings: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration and override fields of it.

    Args:
        name: a module of `models/configs`, or a Python file.
        settings: `path.of.field=value`.

    Raises:
        InputError: `no_config`, or as `override`.
    """
    if name.endswith(".py"):
        if not Path(name).is_file():
            raise InputError("no_config", f"{name} does not exist; check the name")
        config = runpy.run_path(name).get("config")
    else:
        known = sorted(
            path.stem for path in Path(__file__).parents[1].glob("configs/*.py")
        )
        known.remove("__init__")
        if name not in known:
            raise InputError(
                "no_config",
                f"there is no configuration {name!r}; name one of {', '.join(known)}, "
                "or a file that ends in .py",
            )
        config = importlib.import_module(f"models.configs.{name}").config
    if not isinstance(config, TrainConfig):
        raise InputError("no_config", f"{name} has no `config` that is a TrainConfig")
    return override(config, settings)
