"""Checkpoints of a training run, by orbax: written meanwhile, whole or not at all.

with Checkpoints("runs/1", keep=3) as checkpoints:
    state = checkpoints.restore(state) or state
    checkpoints.save(state)
"""

from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from clipseed.errors import InputError
from clipseed.io import storage
from models.training.step import TrainState


class Checkpoints:
    """The checkpoints of one run, by step.

    Args:
        directory: local or `gs://`; checkpoints go to `checkpoints/` in it.
        keep: how many of the last are kept.
    """

    def __init__(self, directory: str, keep: int = 2) -> None:
        import orbax.checkpoint as ocp

        place = storage.join(directory, "checkpoints")
        if not storage.is_remote(place):
            place = str(Path(place).absolute())  # orbax wants it so
        self._place = place
        self._manager = ocp.CheckpointManager(
            place,
            item_handlers=ocp.StandardCheckpointHandler(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, enable_async_checkpointing=True
            ),
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for what is being written."""
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The last step that was saved whole."""
        return self._manager.latest_step()

    def save(self, state: TrainState, step: int) -> None:
        """Saves a state, while training goes on; nothing if that step is there."""
        import orbax.checkpoint as ocp

        if step != self.latest:
            self._manager.save(step, args=ocp.args.StandardSave(state._asdict()))

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """Reads a state onto the devices where another lies.

        Args:
            like: of the same model and optimizer; what it holds does not matter.
            step: which; None: the latest.

        Raises:
            InputError: `no_checkpoint`; `checkpoint_mismatch` if it is of another model
                or optimizer.
        """
        import orbax.checkpoint as ocp

        step = self._step(step)
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, like._asdict())
        there = self._manager.item_metadata(step).tree
        self._check_shapes(wanted, there, step)
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        return TrainState(**restored)

    def restore_params(self, like: Any, step: int | None = None) -> Any:
        """Reads the parameters alone, for another use than going on.

        Args:
            like: parameters of the same model.
            step: which; None: the latest.

        Raises:
            InputError: `no_checkpoint`, `checkpoint_mismatch`.
        """
        import orbax.checkpoint as ocp

        step = self._step(step)
        wanted = {"params": jax.tree.map(ocp.utils.to_shape_dtype_struct, like)}
        saved = self._manager.item_metadata(step).tree
        self._check_shapes(wanted, {"params": saved["params"]}, step)
        path = f"{self._place}/{step}/default"
        with ocp.PyTreeCheckpointer() as reader:
            arguments = ocp.args.PyTreeRestore(wanted, partial_restore=True)
            return reader.restore(path, args=arguments)["params"]

    def _step(self, step: int | None) -> int:
        step = self.latest if step is None else step
        if step is None:
            raise InputError("no_checkpoint", f"{self._place} holds no checkpoint")
        return step

    def _check_shapes(self, wanted: Any, there: Any, step: int) -> None:
        """Compares names and shapes first: orbax would pad or cut what differs."""
        saved, ours = _shapes(there), _shapes(wanted)
        if saved == ours:
            return
        names = sorted(
            name
            for name in saved.keys() | ours.keys()
            if saved.get(name) != ours.get(name)
        )
        shown = ", ".join(
            f"{name}: {saved.get(name)} for {ours.get(name)}" for name in names[:5]
        )
        raise InputError(
            "checkpoint_mismatch",
            f"the checkpoint of step {step} in {self._place} is of another "
            f"configuration ({len(names)} arrays differ; {shown}); resume with the one "
            "it was made with, or give another output directory",
        )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_path(path): tuple(np.shape(leaf)) for path, leaf in leaves}


def _path(path: tuple[Any, ...]) -> str:
    """Names of keys, attributes and positions alike: orbax turns tuples to lists."""
    return "/".join(
        str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
        for key in path
    )
