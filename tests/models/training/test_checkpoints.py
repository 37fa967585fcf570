"""Checkpoints: what is saved comes back, and nothing of another model does."""

from collections.abc import Callable
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
from tests.support.models.tiny_model import TASK, tiny_batch, tiny_model


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


# --- damage --------------------------------------------------------------------------


def saved(folder: Path, *steps: int) -> TrainState:
    state = fresh(optax.sgd(0.1))
    with Checkpoints(str(folder)) as checkpoints:
        for step in steps:
            checkpoints.save(state._replace(step=jnp.int32(step)), step)
    return state


def largest_file(checkpoint: Path) -> Path:
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def change_three_bytes(checkpoint: Path) -> None:
    path = largest_file(checkpoint / "default" / "d")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3] = b"\x7f\x7f\x7f"
    path.write_bytes(data)


def truncate(checkpoint: Path) -> None:
    path = largest_file(checkpoint)
    path.write_bytes(path.read_bytes()[:-9])


def lose_a_file(checkpoint: Path) -> None:
    (checkpoint / "default" / "_METADATA").unlink()


def unseal(checkpoint: Path) -> None:
    (checkpoint / "checksums.json").unlink()


@pytest.mark.parametrize("damage", [change_three_bytes, truncate, lose_a_file, unseal])
def test_the_newest_whole_one_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    state = saved(tmp_path, 1, 2)
    damage(tmp_path / "checkpoints" / "2")
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert int(checkpoints.resume(state).step) == 1
    (line,) = [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]
    assert f"{tmp_path}/checkpoints/2 is skipped (" in line
    assert line.endswith("; step 1 is used")
    caplog.clear()
    saved(tmp_path, 2)  # As the resumed run will.
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert int(checkpoints.restore(state).step) == 2
    assert not [r for r in caplog.records if "skipped" in r.getMessage()]


def test_without_a_whole_one_it_is_said_what_is_damaged(tmp_path: Path) -> None:
    state = saved(tmp_path, 1)
    truncate(tmp_path / "checkpoints" / "1")
    with (
        Checkpoints(str(tmp_path)) as checkpoints,
        pytest.raises(
            InputError, match=r"damaged_checkpoint.*checkpoints/1 is damaged"
        ),
    ):
        checkpoints.restore(state)


def test_what_was_never_finished_is_no_checkpoint(tmp_path: Path) -> None:
    state = saved(tmp_path, 1)
    unseal(tmp_path / "checkpoints" / "1")
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.resume(state) is state
        checkpoints.save(state, 1)
    with Checkpoints(str(tmp_path)) as checkpoints:
        assert checkpoints.latest == 1
