"""Checkpoints of a training run, by orbax: written in the background, and atomically.

Each has checksums. Where the newest is damaged or was not finished, the one before it
is used, and a line says so.

with Checkpoints("runs/1", keep=3) as checkpoints:
    state = checkpoints.resume(state)
    checkpoints.save(state)
"""

import functools
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np

from clipseed.errors import InputError
from clipseed.io import storage
from models.training.checkpoint_sums import UNFINISHED, problem_of, write_sums
from models.training.step import TrainState

_LOG = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"


def saved_steps(directory: Path) -> list[int]:
    """Return the steps of the finished checkpoints of a local run, without opening."""
    folders = (directory / CHECKPOINTS).glob("*")
    return sorted(int(folder.name) for folder in folders if folder.name.isdigit())


class Checkpoints:
    """The checkpoints of one run, by step.

    Args:
        directory: local or `gs://`; checkpoints go to a folder in it.
        keep: number of checkpoints to keep, the latest ones.
    """

    def __init__(self, directory: str, keep: int = 2) -> None:
        import orbax.checkpoint as ocp

        place = storage.join(directory, CHECKPOINTS)
        if not storage.is_remote(place):
            place = str(Path(place).absolute())  # orbax requires it
        self._place = place
        self._sealer = ThreadPoolExecutor(1, "checkpoint-sums")
        self._sealed: Future[None] | None = None
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
        """Wait for checkpoints that are being written."""
        with self._sealer:
            self._wait()
        self._manager.close()

    @functools.cached_property
    def latest(self) -> int | None:
        """The last step that was saved before, and is whole.

        Raises:
            InputError: `damaged_checkpoint` if there are some, and all are damaged.
        """
        skipped: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            if problem := problem_of(self._folder(step)):
                skipped[step] = problem
                continue
            for number, why in skipped.items():
                _LOG.warning(
                    "%s is skipped (%s); step %d is used",
                    self._folder(number), why, step,
                )  # fmt: skip
            return step
        damaged = {n: why for n, why in skipped.items() if why != UNFINISHED}
        if damaged:
            step, why = next(iter(damaged.items()))
            raise InputError(
                "damaged_checkpoint",
                f"{self._folder(step)} is damaged ({why}), and there is no older one "
                "to use: restore it from a copy, or train into another directory",
            )
        return None

    def save(self, state: TrainState, step: int) -> None:
        """Save a state in the background, unless that step is saved already."""
        import orbax.checkpoint as ocp

        if step != self._manager.latest_step():
            tree = _filled(state._asdict())
            self._wait()
            self._manager.save(step, args=ocp.args.StandardSave(tree))
            self._sealed = self._sealer.submit(self._seal, step)

    def _wait(self) -> None:
        """Wait for the checkpoint that is being written; raise what it failed with."""
        if self._sealed is not None:
            self._sealed.result()
        self._manager.wait_until_finished()

    def _seal(self, step: int) -> None:
        self._manager.wait_until_finished()
        if jax.process_index() == 0:
            write_sums(self._folder(step))

    def _folder(self, step: int) -> str:
        return storage.join(self._place, str(step))

    def resume(self, like: TrainState) -> TrainState:
        """Return the newest whole state, or `like` itself if there is none.

        Checkpoints that were skipped are deleted: their steps will be done again.

        Raises:
            InputError: as `restore`.
        """
        state = like if self.latest is None else self.restore(like)
        for step in self._manager.all_steps():
            if self.latest is None or step > self.latest:
                self._manager.delete(step)
        return state

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """Read a state onto the devices of another.

        Args:
            like: a state of the same model and optimizer; its values do not matter.
            step: of the checkpoint; None: the latest.

        Raises:
            InputError: `no_checkpoint`, `damaged_checkpoint`; `checkpoint_mismatch` if
                it is of another model or optimizer.
        """
        import orbax.checkpoint as ocp

        step = self._step(step)
        tree = _filled(like._asdict())
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
        there = self._manager.item_metadata(step).tree
        self._check_shapes(wanted, there, step)
        restored = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
        return like._replace(**restored)

    def restore_variables(
        self, like: dict[str, Any], step: int | None = None
    ) -> dict[str, Any]:
        """Read parts of a state, such as the parameters without the optimizer.

        Args:
            like: fields of `TrainState`, of the same model.
            step: of the checkpoint; None: the latest.

        Raises:
            InputError: `no_checkpoint`, `damaged_checkpoint`, `checkpoint_mismatch`.
        """
        import orbax.checkpoint as ocp

        step = self._step(step)
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, _filled(like))
        saved = self._manager.item_metadata(step).tree
        parts = {name: saved[name] for name in wanted if name in saved}
        self._check_shapes(wanted, parts, step)
        path = f"{self._place}/{step}/default"
        with ocp.PyTreeCheckpointer() as reader:
            arguments = ocp.args.PyTreeRestore(wanted, partial_restore=True)
            return like | reader.restore(path, args=arguments)

    def _step(self, step: int | None) -> int:
        step = self.latest if step is None else step
        if step is None:
            raise InputError("no_checkpoint", f"{self._place} holds no checkpoint")
        return step

    def _check_shapes(self, wanted: Any, there: Any, step: int) -> None:
        """Compare names and shapes: orbax would pad or crop arrays that differ."""
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


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    """Drop fields without arrays, which orbax would not save."""
    return {name: tree for name, tree in fields.items() if jax.tree.leaves(tree)}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_path(path): tuple(np.shape(leaf)) for path, leaf in leaves}


def _path(path: tuple[Any, ...]) -> str:
    """Return names of keys, attributes, positions alike: orbax makes tuples lists."""
    return "/".join(
        str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))
        for key in path
    )
