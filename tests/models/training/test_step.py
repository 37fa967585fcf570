"""A training step: micro-batches, devices, numbers that are not finite."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from clipseed.errors import InputError
from models.retrieval.task import Embedded, accuracy
from models.training import sharding, step
from models.training.step import TrainState
from tests.support.models.tiny_model import (
    TASK,
    largest_difference,
    tiny_batch,
    tiny_model,
)
from tests.support.paths import ROOT
from tests.support.quick_compiler import QUICK_COMPILER


@pytest.fixture(scope="module")
def split() -> tuple[Any, Any, Any]:
    return step.divide(TASK, tiny_model())


compiled = jax.jit(step.loss_and_gradients, static_argnums=(0, 1, 5))


@pytest.mark.parametrize("micro", [2, 8])
def test_micro_batches_give_the_gradients_of_the_whole(
    split: tuple[Any, Any, Any], micro: int
) -> None:
    whole = compiled(TASK, *split, tiny_batch(), 0)
    parts = compiled(TASK, *split, tiny_batch(), micro)
    assert largest_difference(whole[0], parts[0]) < 1e-6
    assert largest_difference(whole[1], parts[1]) < 1e-5
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(whole[1])) > 1e-2


def test_accuracy_counts_ties_as_wrong() -> None:
    same = jnp.ones((3, 2)) / jnp.sqrt(2)
    assert accuracy(Embedded(same, same)) == 0
    apart = jnp.eye(3)
    assert accuracy(Embedded(apart, apart)) == 1
    assert accuracy(Embedded(apart[:, ::-1], apart)) == pytest.approx(1 / 3)


OPTIMIZER = optax.adam(3e-3)


@pytest.fixture(scope="module")
def train(split: tuple[Any, Any, Any]) -> Callable[..., Any]:
    return step.make_step(TASK, split[0], OPTIMIZER)


def state_of(params: Any, rest: Any) -> TrainState:
    copied = jax.tree.map(jnp.array, params)
    return TrainState(jnp.int32(0), copied, OPTIMIZER.init(copied), rest)


def test_steps_lower_the_loss(
    split: tuple[Any, Any, Any], train: Callable[..., Any]
) -> None:
    state, losses = state_of(*split[1:]), []
    for _ in range(40):
        state, metrics = train(state, tiny_batch())
        losses.append(float(metrics.loss))
    assert losses[-1] < losses[0] / 10 and int(state.step) == 40
    assert metrics.named["accuracy"] == 1 and metrics.finite == 1


def test_what_is_not_finite_changes_nothing(
    split: tuple[Any, Any, Any], train: Callable[..., Any]
) -> None:
    _, params, rest = split
    batch = tiny_batch()
    batch.clips.audio[3, 0, 0] = np.nan
    before = jax.tree.map(np.asarray, params)
    state, metrics = train(state_of(params, rest), batch)
    assert metrics.finite == 0 and not np.isfinite(metrics.loss)
    assert largest_difference(before, state.params) == 0 and int(state.step) == 0


ON_EIGHT = """
import jax
from tests.support.models.tiny_model import TASK, largest_difference
from tests.support.models.tiny_model import tiny_batch, tiny_model
from models.training import sharding, step
graph, params, rest = step.divide(TASK, tiny_model())
batch = tiny_batch()
one = jax.jit(step.loss_and_gradients, static_argnums=(0, 1, 5))
alone = one(TASK, graph, params, rest, batch, 0)
assert jax.device_count() == 8
mesh = sharding.data_mesh()
spread = sharding.to_devices(batch, mesh)
for shard_from, micro in ((0, 0), (64, 0), (0, 8)):
    placed = sharding.place(params, mesh, shard_from)
    cut = sum(not p.sharding.is_fully_replicated for p in jax.tree.leaves(placed))
    assert (cut > 0) == (shard_from > 0)
    together = one(TASK, graph, placed, rest, spread, micro)
    worst = largest_difference(alone, together)
    assert worst < 1e-5, worst
print("equal")
"""


def test_eight_devices_give_what_one_gives() -> None:
    flags = f"{QUICK_COMPILER} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "equal", done.stderr


@pytest.mark.parametrize(("batch", "micro"), [(10, 4), (1, 0), (0, 0)])
def test_batches_that_do_not_divide_are_refused(batch: int, micro: int) -> None:
    with pytest.raises(InputError, match="bad_batch_size"):
        sharding.check_batch(batch, micro)
