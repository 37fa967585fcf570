"""One step of training: loss over the global batch, gradients, update.

    step = make_step(graph, optimizer, micro_batch=64)
    state, metrics = step(state, batch)

Negatives come from the whole batch, on however many devices it lies (paper, section
4.1). Where the batch does not fit, it is encoded in micro-batches twice: first for the
embeddings, of which the loss and its gradient are computed at once, then for the
gradients of the parameters (Gao et al., "Scaling Deep Contrastive Learning Batch Size
under Memory Limited Setup"). The numbers are those of the undivided batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from models.retrieval.losses import nce_loss

Batch = dict[str, jax.Array]
Params = Any


class TrainState(NamedTuple):
    """What a run is, between two steps.

    Attributes:
        step: int32 [], steps done.
        params: the model's parameters, float32.
        optimizer: the optimizer's.
    """

    step: jax.Array
    params: Params
    optimizer: optax.OptState


class Metrics(NamedTuple):
    """What a step tells, float32 [] each.

    Attributes:
        loss: before the update.
        gradient_norm: before clipping.
        accuracy: share of the captions whose own clip is the nearest of the batch.
        finite: 1; 0 if loss or gradient were not, and nothing was updated.
    """

    loss: jax.Array
    gradient_norm: jax.Array
    accuracy: jax.Array
    finite: jax.Array


class Embedded(NamedTuple):
    """What becomes of a batch: float32 [b, d] each, unit norm."""

    clips: jax.Array
    texts: jax.Array


def encode(graph: nnx.GraphDef, params: Params, batch: Batch) -> Embedded:
    """Encodes clips and captions.

    Args:
        graph: of a `RetrievalModel`.
        params: of it.
        batch: `video`, `audio`, `has_video`, `has_audio` as `encode_clips` takes them
            (absent: None), `text_ids` and `text_mask`.
    """
    model = nnx.merge(graph, params)
    names = ("video", "audio", "has_video", "has_audio")
    clips = model.encode_clips(**{name: batch.get(name) for name in names})
    return Embedded(clips, model.encode_texts(batch["text_ids"], batch["text_mask"]))


def loss_and_gradients(
    graph: nnx.GraphDef, params: Params, batch: Batch, micro_batch: int = 0
) -> tuple[jax.Array, jax.Array, Params]:
    """Loss, accuracy and the gradients of the parameters.

    Args:
        graph: of a `RetrievalModel`.
        params: of it.
        batch: see `encode`; b clips and their captions.
        micro_batch: clips to encode at once, a divisor of b; 0: all.
    """

    def loss_of(params: Params, embedded: Embedded) -> tuple[jax.Array, jax.Array]:
        scale = nnx.merge(graph, params).scale()
        loss = nce_loss(embedded.texts, embedded.clips, scale)
        return loss, accuracy(embedded)

    size = len(batch["text_ids"])
    if micro_batch in (0, size):
        whole = jax.value_and_grad(
            lambda params: loss_of(params, encode(graph, params, batch)), has_aux=True
        )
        (loss, right), gradients = whole(params)
        return loss, right, gradients

    chunks = _chunks(batch, size // micro_batch)
    parts = jax.lax.map(lambda chunk: encode(graph, params, chunk), chunks)
    embedded = jax.tree.map(_joined, parts)
    top = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
    (loss, right), (of_scale, of_embedded) = top(params, embedded)

    def add(total: Params, part: tuple[Batch, Embedded]) -> tuple[Params, None]:
        chunk, slope = part
        _, pull = jax.vjp(lambda params: encode(graph, params, chunk), params)
        return jax.tree.map(jnp.add, total, pull(slope)[0]), None

    slopes = _chunks(of_embedded, size // micro_batch)
    gradients, _ = jax.lax.scan(add, of_scale, (chunks, slopes))
    return loss, right, gradients


def accuracy(embedded: Embedded) -> jax.Array:
    """Share of the captions that are nearer to their own clip than to any other."""
    similarities = embedded.texts @ embedded.clips.T
    own = jnp.diagonal(similarities)
    others = jnp.where(jnp.eye(len(own), dtype=bool), -jnp.inf, similarities)
    return jnp.mean(own > others.max(axis=1), dtype=jnp.float32)


def _chunks(tree: Any, count: int) -> Any:
    """Splits [b, ...] leaves into [count, b / count, ...].

    A chunk takes every `count`-th row, so that each device goes on with rows it holds.
    """

    def split(leaf: jax.Array) -> jax.Array:
        return jnp.swapaxes(leaf.reshape(-1, count, *leaf.shape[1:]), 0, 1)

    return jax.tree.map(split, tree)


def _joined(leaf: jax.Array) -> jax.Array:
    """Undoes `_chunks`."""
    return jnp.swapaxes(leaf, 0, 1).reshape(-1, *leaf.shape[2:])


def update(
    state: TrainState,
    gradients: Params,
    optimizer: optax.GradientTransformation,
    finite: jax.Array,
) -> TrainState:
    """The state after a step; the same parameters where a number is not finite."""
    changes, inner = optimizer.update(gradients, state.optimizer, state.params)
    new = (optax.apply_updates(state.params, changes), inner)
    old = (state.params, state.optimizer)
    params, inner = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
    return TrainState(state.step + finite.astype(jnp.int32), params, inner)


def make_step(
    graph: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    micro_batch: int = 0,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The jitted step; the state that goes in is consumed.

    Where arrays lie decides what is computed where: with a batch that is spread over
    devices and parameters that are not, this is synchronous data parallelism.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        loss, right, gradients = loss_and_gradients(
            graph, state.params, batch, micro_batch
        )
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        new = update(state, gradients, optimizer, finite)
        return new, Metrics(loss, norm, right, finite.astype(jnp.float32))

    return jax.jit(step, donate_argnums=0)
