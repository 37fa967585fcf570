"""Where arrays are: batches spread over all devices, parameters whole or split.

    mesh = data_mesh()
    state = place(state, mesh, shard_from=1 << 20)
    step(state, to_devices(batch, mesh))

One axis, `data`, over the devices of all hosts. XLA adds the communication that this
requires (an all-gather of the embeddings, a sum of the gradients).
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from clipseed.errors import InputError

_DATA = "data"


def data_mesh() -> Mesh:
    """Return all devices of all hosts as one axis."""
    # XLA decides how intermediate arrays are spread; modules say nothing of it.
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((jax.device_count(),), (_DATA,), axis_types=auto)


def check_batch(batch_size: int, micro_batch: int) -> None:
    """Check that a batch can be spread over the devices and split.

    Raises:
        InputError: `bad_batch_size`.
    """
    devices = jax.device_count()
    part = micro_batch or batch_size
    if batch_size < 2 or batch_size % part or part % devices:
        raise InputError(
            "bad_batch_size",
            f"a batch of {batch_size} in micro-batches of {part} cannot be spread over "
            f"{devices} devices; make the batch a multiple of the micro-batch, and "
            "that a multiple of the devices",
        )


def place(tree: Any, mesh: Mesh, shard_from: int = 0) -> Any:
    """Put parameters and optimizer state on the devices.

    Args:
        tree: of arrays, the same on every host.
        mesh: from `data_mesh`.
        shard_from: arrays of at least this many elements are split along the longest
            axis that the devices divide, and gathered where they are used; 0: every
            device holds all.
    """
    return jax.tree.map(
        lambda leaf: jax.device_put(leaf, _sharding(np.shape(leaf), mesh, shard_from)),
        tree,
    )


def shardings(tree: Any) -> Any:
    """Return the shardings of a tree of arrays."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def _sharding(shape: tuple[int, ...], mesh: Mesh, shard_from: int) -> NamedSharding:
    spec: list[str | None] = [None] * len(shape)
    axes = [axis for axis, size in enumerate(shape) if size % mesh.size == 0]
    if shard_from and axes and math.prod(shape) >= shard_from:
        spec[max(axes, key=lambda axis: shape[axis])] = _DATA
    return NamedSharding(mesh, PartitionSpec(*spec))


def to_devices(batch: Any, mesh: Mesh) -> Any:
    """Spread a batch over the devices by rows.

    Args:
        batch: tree of arrays, [b, ...] each: this host's rows; hosts hold different
            ones, as many each.
        mesh: from `data_mesh`.
    """
    rows = NamedSharding(mesh, PartitionSpec(_DATA))
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(rows, array), batch
    )
