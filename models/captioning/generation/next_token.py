"""What greedy and beam search share: the scores of the next token, and the result."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from models.captioning.generation.config import GenerationConfig


class Generated(NamedTuple):
    """Texts as tokens.

    Attributes:
        ids: int32 [b, prompt + max_tokens], prompt first; `pad_id` after the end.
        tokens: int32 [b], how many were written, the one that ends the text included.
        log_likelihood: float32 [b], the sum over them; tokens that were forced count
            nothing.
        ended: bool [b], False where no token ended the text.
        finite: bool [b], False where the model's logits were NaN or infinite: the text
            means nothing.
    """

    ids: jax.Array
    tokens: jax.Array
    log_likelihood: jax.Array
    ended: jax.Array
    finite: jax.Array


def next_scores(
    logits: jax.Array, step: jax.Array, prompt: int, config: GenerationConfig
) -> jax.Array:
    """Return the log-likelihoods of the next token.

    Args:
        logits: float32 [..., vocabulary].
        step: int32 [], number of tokens written before.
        prompt: number of tokens of the prompt.
        config: that may force the token.
    """
    scores = jax.nn.log_softmax(logits, axis=-1)
    vocabulary = jnp.arange(logits.shape[-1])

    def forced(token: int) -> jax.Array:
        return jnp.where(vocabulary == token, 0.0, -jnp.inf)

    if config.forced_start_id is not None and prompt == 1:
        scores = jnp.where(step == 0, forced(config.forced_start_id), scores)
    if config.forced_end_id is not None:
        last = step == config.max_tokens - 1
        scores = jnp.where(last, forced(config.forced_end_id), scores)
    return scores


def ends(ids: jax.Array, config: GenerationConfig) -> jax.Array:
    """Tell which tokens end a text."""
    return jnp.isin(ids, jnp.array(config.end_ids))


def finite(logits: jax.Array) -> jax.Array:
    """Tell for logits [..., vocabulary] whether a next token can be told from them."""
    return jnp.isfinite(logits.max(axis=-1)) & ~jnp.isnan(logits).any(axis=-1)
