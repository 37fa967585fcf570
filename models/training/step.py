"""One step of training: loss over the global batch, gradients, update.

    step = make_step(task, graph, optimizer, micro_batch=64)
    state, metrics = step(state, batch)

Where the arrays are decides what is computed where: with a batch that is spread over
devices and parameters that are not, this is synchronous data parallelism, and the loss
sees the examples of all devices.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from models.training.gradients import Loss, rows
from models.training.task import Batch, Task

Params = Any


class TrainState(NamedTuple):
    """All that a run is between two steps.

    Attributes:
        step: int32 [], steps done.
        params: the parameters that are trained, float32.
        optimizer: state of the optimizer.
        rest: all other variables of the model, such as frozen parameters.
    """

    step: jax.Array
    params: Params
    optimizer: optax.OptState
    rest: Any


class Metrics(NamedTuple):
    """Results of a step, float32 [] each.

    Attributes:
        loss: before the update.
        gradient_norm: before clipping.
        finite: 1; 0 if loss or gradient were not finite and nothing was updated.
        named: what the task's loss adds, such as the accuracy.
    """

    loss: jax.Array
    gradient_norm: jax.Array
    finite: jax.Array
    named: dict[str, jax.Array]


def divide(task: Task, model: nnx.Module) -> tuple[nnx.GraphDef, Any, Any]:
    """Return a model's graph, the parameters to train, and all its other variables."""
    graph, params, *others = nnx.split(model, task.is_trained, ...)
    return graph, params, others[0]


def loss_and_gradients(
    task: Task,
    graph: nnx.GraphDef,
    params: Params,
    rest: Any,
    batch: Batch,
    micro_batch: int = 0,
) -> tuple[Loss, Params]:
    """Return the loss of a batch, and the gradients of the parameters.

    Args:
        task: whose loss it is.
        graph: of the task's model, see `divide`.
        params: parameters to train.
        rest: all other variables.
        batch: b examples.
        micro_batch: examples to process at once, a divisor of b; 0: all.
    """
    size = rows(batch)
    if micro_batch not in (0, size):
        return task.micro_batched(graph, params, rest, batch, size // micro_batch)

    def loss(params: Params) -> Loss:
        return task.loss(nnx.merge(graph, params, rest), batch)

    return jax.value_and_grad(loss, has_aux=True)(params)


def update(
    state: TrainState,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    finite: jax.Array,
) -> TrainState:
    """Return the state after a step; the same parameters where `finite` is False."""
    changes, inner = optimizer.update(gradients, state.optimizer, state.params)
    new = (optax.apply_updates(state.params, changes), inner)
    old = (state.params, state.optimizer)
    params, inner = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
    step = state.step + finite.astype(jnp.int32)
    return TrainState(step, params, inner, state.rest)


def make_step(
    task: Task,
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    micro_batch: int = 0,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Return the compiled step; the state that it is given is consumed."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        (loss, named), gradients = loss_and_gradients(
            task, graph, state.params, state.rest, batch, micro_batch
        )
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        new = update(state, gradients, optimizer, finite)
        return new, Metrics(loss, norm, finite.astype(jnp.float32), named)

    return jax.jit(step, donate_argnums=0)
