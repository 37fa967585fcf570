"""Multi-head attention, and how a model computes.

`Compute` travels beside a model's configuration: the configuration says what is
computed (and comes with a checkpoint), `Compute` at what precision and cost.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """How a model computes; parameters are float32 whatever it says.

    Attributes:
        dtype: of activations and matrix products, such as `jnp.bfloat16`. Statistics of
            layer norms and the softmax stay in float32.
        remat: recompute each block in the backward pass instead of keeping what it
            made: memory of one block for about a third more time.
        attention: `xla`, or `cudnn` for flash attention (NVIDIA GPUs, bfloat16 only).
    """

    dtype: Any = jnp.float32
    remat: bool = False
    attention: Literal["xla", "cudnn"] = "xla"


class KeyValues(NamedTuple):
    """Tokens as attention looks at them.

    Attributes:
        key: [b, n, heads, width].
        value: [b, n, heads, width].
    """

    key: jax.Array
    value: jax.Array


class Seen(NamedTuple):
    """A set of tokens that queries look at.

    Attributes:
        tokens: [b, m, heads, width]; where there are more rows of queries than b, as
            many of them in turn look at each row (the beams of a picture at the
            picture).
        mask: bool [rows of queries, queries, m] or [rows of queries, 1, m], which may
            be looked at; None: all.
    """

    tokens: KeyValues
    mask: jax.Array | None = None


class Attention(nnx.Module):
    """Multi-head attention with biases everywhere, as BERT, ViT and CLIP have it.

    Called, it lets tokens look at each other. A decoder keeps what `key_values` returns
    and lets later tokens `attend` to it.

    Args:
        hidden: width of the tokens; a multiple of `heads`.
        heads: number of heads.
        looked_at: width of the tokens that `key_values` takes; None: `hidden`.
        causal: a token sees itself and those before it.
        compute: precision and implementation.
        rngs: of the initial parameters.
    """

    def __init__(
        self,
        hidden: int,
        heads: int,
        *,
        looked_at: int | None = None,
        causal: bool = False,
        compute: Compute,
        rngs: nnx.Rngs,
    ) -> None:
        self.heads = heads
        self.causal = causal
        self.implementation = compute.attention

        def linear(width: int) -> nnx.Linear:
            return nnx.Linear(width, hidden, dtype=compute.dtype, rngs=rngs)

        other = looked_at or hidden
        self.query, self.key, self.value = linear(hidden), linear(other), linear(other)
        self.output = linear(hidden)

    def __call__(self, tokens: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Let tokens look at each other.

        Args:
            tokens: [b, n, hidden].
            mask: bool [b, n], the tokens that may be looked at; None: all. Where none
                may, the average of all is looked at.

        Returns:
            [b, n, hidden], in the dtype of `Compute`.
        """
        b, n, _ = tokens.shape
        query, key, value = (
            linear(tokens).reshape(b, n, self.heads, -1)
            for linear in (self.query, self.key, self.value)
        )
        if mask is not None:
            # cuDNN does not broadcast over the queries; for XLA it costs nothing.
            mask = jnp.broadcast_to(mask[:, None, None, :], (b, 1, n, n))
        mixed = jax.nn.dot_product_attention(
            query,
            key,
            value,
            mask=mask,
            is_causal=self.causal,
            implementation=self.implementation,
        )
        return self.output(mixed.reshape(b, n, -1))

    def key_values(self, tokens: jax.Array) -> KeyValues:
        """Return [b, n, looked_at] as it is looked at."""
        shape = (*tokens.shape[:2], self.heads, -1)
        return KeyValues(
            self.key(tokens).reshape(shape), self.value(tokens).reshape(shape)
        )

    def attend(self, tokens: jax.Array, seen: Sequence[Seen]) -> jax.Array:
        """Let tokens look at several sets of others as if they were one.

        Args:
            tokens: [r, n, hidden].
            seen: what is looked at, one softmax over all; a token that may look at
                nothing gets the average.

        Returns:
            [r, n, hidden], in the dtype of `Compute`.
        """
        rows, n, _ = tokens.shape
        query = self.query(tokens).reshape(rows, n, self.heads, -1)
        scores = jnp.concatenate([_scores(query, each) for each in seen], axis=-1)
        weights = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
        sizes = [each.tokens.key.shape[1] for each in seen[:-1]]
        parts = jnp.split(weights, list(itertools.accumulate(sizes)), axis=-1)
        mixed = jnp.zeros_like(query)
        for part, each in zip(parts, seen, strict=True):
            mixed = mixed + _mixed(part, each.tokens.value)
        return self.output(mixed.reshape(rows, n, -1))


def _scores(query: jax.Array, seen: Seen) -> jax.Array:
    """Return float32 [r, heads, n, m], of how much queries look at keys."""
    key = seen.tokens.key
    rows, n, heads, width = query.shape
    grouped = query.reshape(len(key), -1, n, heads, width)
    scores = jnp.einsum(
        "bgnhd,bmhd->bghnm", grouped, key, preferred_element_type=jnp.float32
    ).reshape(rows, heads, n, -1) / jnp.sqrt(jnp.float32(width))
    if seen.mask is None:
        return scores
    return jnp.where(seen.mask[:, None], scores, jnp.finfo(jnp.float32).min)


def _mixed(weights: jax.Array, value: jax.Array) -> jax.Array:
    """Return [r, n, heads, width], values mixed by weights [r, heads, n, m]."""
    rows, heads, n, m = weights.shape
    grouped = weights.reshape(len(value), -1, heads, n, m)
    mixed = jnp.einsum("bghnm,bmhd->bgnhd", grouped, value)
    return mixed.reshape(rows, n, heads, -1)
