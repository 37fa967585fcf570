"""The loss of captioners: the negative log-likelihood of captions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from models.tokenizers.base import Tokens


class TokenSums(NamedTuple):
    """Sums over the tokens that a captioner must name: float32 [b] each.

    Attributes:
        loss: of the negative log-likelihoods, in nats.
        right: of the tokens that were the likeliest.
        tokens: 1 for each: all of a caption after its start, its end included.
    """

    loss: jax.Array
    right: jax.Array
    tokens: jax.Array


def token_sums(logits: jax.Array, texts: Tokens) -> TokenSums:
    """Return the sums of each caption.

    Args:
        logits: float32 [b, n - 1, vocabulary], of each token's successor.
        texts: [b, n], from the start token to the end token.
    """
    wanted = jnp.asarray(texts.ids)[:, 1:]
    counted = jnp.asarray(texts.mask)[:, 1:].astype(jnp.float32)
    scores = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    found = jnp.take_along_axis(scores, wanted[..., None], axis=-1)[..., 0]
    right = (logits.argmax(axis=-1) == wanted).astype(jnp.float32)
    return TokenSums(
        (-found * counted).sum(axis=1),
        (right * counted).sum(axis=1),
        counted.sum(axis=1),
    )
