"""Greedy search: the likeliest next token, step by step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from models.backbones.text_decoder.model import Cache, Context, TextDecoder
from models.captioning.generation.config import GenerationConfig
from models.captioning.generation.next_token import (
    Generated,
    ends,
    finite,
    next_scores,
)


class _State(NamedTuple):
    step: jax.Array
    last: jax.Array  # int32 [b], the token written last
    cache: Cache
    found: Generated


def greedy_search(
    decoder: TextDecoder,
    prompt: jax.Array,
    mask: jax.Array,
    context: Context | None,
    config: GenerationConfig,
) -> Generated:
    """Write texts; the arguments are those of `generate`."""
    b, length = prompt.shape
    slots = length + config.max_tokens
    cache = decoder.start(b, slots - 1, context)  # The last token is never read.
    logits, cache = decoder(prompt, cache, mask)
    ids = jnp.full((b, slots), config.pad_id, jnp.int32).at[:, :length].set(prompt)
    none = jnp.zeros(b, bool)
    empty = Generated(ids, jnp.zeros(b, jnp.int32), jnp.zeros(b), none, ~none)

    def write(
        step: jax.Array, logits: jax.Array, cache: Cache, old: Generated
    ) -> _State:
        scores = next_scores(logits, step, length, config)
        best = jnp.argmax(scores, axis=-1).astype(jnp.int32)
        token = jnp.where(old.ended, config.pad_id, best)
        gain = jnp.take_along_axis(scores, best[:, None], axis=-1)[:, 0]
        at = (jnp.int32(0), length + step)
        new = Generated(
            jax.lax.dynamic_update_slice(old.ids, token[:, None], at),
            old.tokens + ~old.ended,
            old.log_likelihood + jnp.where(old.ended, 0.0, gain),
            old.ended | ends(token, config),
            old.finite & (old.ended | finite(logits)),
        )
        return _State(step + 1, token, cache, new)

    def goes_on(state: _State) -> jax.Array:
        return (state.step < config.max_tokens) & ~state.found.ended.all()

    def advance(state: _State) -> _State:
        logits, cache = decoder(state.last[:, None], state.cache)
        return write(state.step, logits[:, -1], cache, state.found)

    first = write(jnp.int32(0), logits[:, -1], cache, empty)
    return jax.lax.while_loop(goes_on, advance, first).found
