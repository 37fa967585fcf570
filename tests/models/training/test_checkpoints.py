"""Checkpoints: what is saved comes back, and nothing of another model does."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from clipseed.errors import InputError
from models.training.checkpoints import Checkpoints
from models.training.step import TrainState, divide, make_step
from tests.support.tiny_model import TASK, tiny_batch, tiny_model


def fresh(optimizer: optax.GradientTransformation, seed: int = 0) -> TrainState:
    _, params, rest = divide(TASK, tiny_model(seed))
    return TrainState(jnp.int32(0), params, optimizer.init(params), rest)


def same(left: TrainState, right: TrainState) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_run_goes_on_as_if_undisturbed(tmp_path: Path) -> None:
    optimizer = optax.adam(1e-3)
    graph = nnx.graphdef(tiny_model())
    step = make_step(TASK, graph, optimizer)
    state, _ = step(fresh(optimizer), tiny_batch(seed=0))
    with Checkpoints(str(tmp_path)) as checkpoints:
        checkpoints.save(state, 1)
    undisturbed, _ = step(state, tiny_batch(seed=1))

    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.latest == 1
        restored = checkpoints.restore(fresh(optimizer, seed=5))
    resumed, _ = step(restored, tiny_batch(seed=1))
    assert same(undisturbed, resumed) and int(resumed.step) == 2


def test_only_the_last_are_kept(tmp_path: Path) -> None:
    state = fresh(optax.sgd(0.1))
    with Checkpoints(str(tmp_path), keep=2) as checkpoints:
        for step in (1, 2, 3, 3):
            checkpoints.save(state, step)
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"2", "3"}


def test_nothing_saved_is_said(tmp_path: Path) -> None:
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.latest is None
        with pytest.raises(InputError, match="holds no checkpoint"):
            checkpoints.restore(fresh(optax.sgd(0.1)))


def test_another_optimizer_is_refused(tmp_path: Path) -> None:
    with Checkpoints(str(tmp_path)) as checkpoints:
        checkpoints.save(fresh(optax.sgd(0.1)), 1)
    other = fresh(optax.adam(0.1))
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(InputError, match="another configuration"),
    ):
        checkpoints.restore(other)


def test_another_model_is_refused(tmp_path: Path) -> None:
    state = fresh(optax.sgd(0.1))
    with Checkpoints(str(tmp_path)) as checkpoints:
        checkpoints.save(state, 1)
    wide = jax.tree.map(lambda x: jnp.concatenate([x, x]) if x.ndim else x, state)
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(InputError, match=r"clip_projection.*\(16, 8\) for \(32, 8\)"),
    ):
        checkpoints.restore(wide)
