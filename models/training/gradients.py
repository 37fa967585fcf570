"""Gradients of a batch, whole or in parts that fit the memory.

A loss maps parameters and a batch to a number and to named numbers. Where it is a mean
over examples, parts are processed one after another and averaged (`accumulated`).
Where it compares all examples with each other, as contrastive losses do, the examples
are encoded twice (`cached`): once for the encodings, of which the loss and its gradient
are computed at once, then for the gradients of the parameters (Gao et al., "Scaling
Deep Contrastive Learning Batch Size under Memory Limited Setup").
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Loss = tuple[jax.Array, dict[str, jax.Array]]
Params = Any
Batch = Any
Encoded = Any


def rows(batch: Batch) -> int:
    """Return the number of examples of a batch."""
    return len(jax.tree.leaves(batch)[0])


def accumulated(
    loss: Callable[[Params, Batch], Loss], params: Params, batch: Batch, count: int
) -> tuple[Loss, Params]:
    """Return the mean loss and gradients over `count` equal parts of a batch."""
    gradient = jax.value_and_grad(loss, has_aux=True)

    def add(total: Any, part: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(params, part)), None

    parts = split(batch, count)
    shape = jax.eval_shape(gradient, params, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    total, _ = jax.lax.scan(add, zeros, parts)
    found, gradients = jax.tree.map(lambda leaf: leaf / count, total)
    return found, gradients


def cached(
    encode: Callable[[Params, Batch], Encoded],
    loss: Callable[[Params, Encoded], Loss],
    params: Params,
    batch: Batch,
    count: int,
) -> tuple[Loss, Params]:
    """Return loss and gradients of a whole batch that is encoded in parts.

    Args:
        encode: maps parameters and examples to their encodings, [b, ...] each.
        loss: of all encodings of the batch; it may use parameters as well.
        params: of both.
        batch: b examples.
        count: number of parts, a divisor of b.
    """
    parts = split(batch, count)
    encoded = jax.lax.map(lambda part: encode(params, part), parts)
    top = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    found, (direct, slopes) = top(params, jax.tree.map(_joined, encoded))

    def add(total: Params, each: tuple[Batch, Encoded]) -> tuple[Params, None]:
        part, slope = each
        _, pull = jax.vjp(lambda params: encode(params, part), params)
        return jax.tree.map(jnp.add, total, pull(slope)[0]), None

    gradients, _ = jax.lax.scan(add, direct, (parts, split(slopes, count)))
    return found, gradients


def split(tree: Any, count: int) -> Any:
    """Split [b, ...] leaves into [count, b / count, ...].

    A part takes every `count`-th row, so that each device keeps to rows it holds.
    """

    def divide(leaf: jax.Array) -> jax.Array:
        return jnp.swapaxes(leaf.reshape(-1, count, *leaf.shape[1:]), 0, 1)

    return jax.tree.map(divide, tree)


def _joined(leaf: jax.Array) -> jax.Array:
    """Undo `split`."""
    return jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[2:])
