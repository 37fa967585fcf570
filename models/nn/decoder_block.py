"""Blocks of decoders, which write a text one token after another.

A block keeps the keys and values of the tokens it has seen, so that a new token costs
one token's work. What a text is about (the tokens of a picture) precedes the text in
the same attention, or is looked at by an attention of its own.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from models.nn.attention import Attention, Compute, KeyValues, Seen
from models.nn.transformer import BlockConfig, Mlp, layer_norm


class LayerCache(NamedTuple):
    """What one block remembers.

    Attributes:
        text: keys and values of the text's tokens, [r, slots, heads, width].
        context: those of what the text is about, [b, m, heads, width] with r a multiple
            of b; None where there is nothing.
    """

    text: KeyValues
    context: KeyValues | None = None


class Place(NamedTuple):
    """Where new tokens belong in a text.

    Attributes:
        start: int32 [], the slot of the first of them.
        mask: bool [r, n, slots], the tokens of the text that each may look at.
        context: bool [r, 1, m], the tokens of the context that may be looked at; None:
            all.
    """

    start: jax.Array
    mask: jax.Array
    context: jax.Array | None = None


class DecoderBlock(nnx.Module):
    """Attention to the text so far, and if wanted to a context, then an MLP.

    Args:
        config: its sizes.
        post_norm: normalize after the residual sums (BERT), not before the branches.
        cross: width of the context's tokens, which get an attention of their own; None:
            what the context of a cache holds precedes the text in the same attention.
        compute: precision and cost.
        rngs: of the initial parameters.
    """

    def __init__(
        self,
        config: BlockConfig,
        *,
        post_norm: bool,
        cross: int | None,
        compute: Compute,
        rngs: nnx.Rngs,
    ) -> None:
        self.post_norm = post_norm
        self.remat = compute.remat
        self.crosses = cross is not None
        self.attention = Attention(
            config.hidden, config.heads, compute=compute, rngs=rngs
        )
        self.attention_norm = layer_norm(config, compute, rngs)
        if cross is not None:
            self.cross = Attention(
                config.hidden, config.heads, looked_at=cross, compute=compute, rngs=rngs
            )
            self.cross_norm = layer_norm(config, compute, rngs)
        self.mlp = Mlp(config, compute, rngs)
        self.mlp_norm = layer_norm(config, compute, rngs)

    def __call__(
        self, tokens: jax.Array, cache: LayerCache, place: Place
    ) -> tuple[jax.Array, LayerCache]:
        """Map new tokens [r, n, hidden], and remember them.

        Returns:
            [r, n, hidden], and the cache with the new tokens in it.
        """
        forward = nnx.remat(_forward) if self.remat else _forward
        return forward(self, tokens, cache, place)

    def before(self, norm: nnx.LayerNorm, tokens: jax.Array) -> jax.Array:
        """Normalize what a branch takes, if it is done there."""
        return tokens if self.post_norm else norm(tokens)

    def after(self, norm: nnx.LayerNorm, tokens: jax.Array) -> jax.Array:
        """Normalize a residual sum, if it is done there."""
        return norm(tokens) if self.post_norm else tokens


def _forward(
    block: DecoderBlock, tokens: jax.Array, cache: LayerCache, place: Place
) -> tuple[jax.Array, LayerCache]:
    before = block.before(block.attention_norm, tokens)
    text = _insert(cache.text, block.attention.key_values(before), place.start)
    seen = [Seen(text, place.mask)]
    context = [] if cache.context is None else [Seen(cache.context, place.context)]
    if not block.crosses:
        seen = context + seen
    attended = block.attention.attend(before, seen)
    tokens = block.after(block.attention_norm, tokens + attended)
    if block.crosses:
        before = block.before(block.cross_norm, tokens)
        attended = block.cross.attend(before, context)
        tokens = block.after(block.cross_norm, tokens + attended)
    mapped = block.mlp(block.before(block.mlp_norm, tokens))
    tokens = block.after(block.mlp_norm, tokens + mapped)
    return tokens, cache._replace(text=text)


def _insert(text: KeyValues, new: KeyValues, start: jax.Array) -> KeyValues:
    def insert(old: jax.Array, part: jax.Array) -> jax.Array:
        part = part.astype(old.dtype)
        return jax.lax.dynamic_update_slice_in_dim(old, part, start, axis=1)

    return KeyValues(insert(text.key, new.key), insert(text.value, new.value))


def empty(rows: int, slots: int, config: BlockConfig, dtype: Any) -> KeyValues:
    """Return room for the keys and values of a text of `slots` tokens."""
    shape = (rows, slots, config.heads, config.hidden // config.heads)
    return KeyValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
