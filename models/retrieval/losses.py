"""The contrastive loss of retrieval."""

import jax
import jax.numpy as jnp


def nce_loss(texts: jax.Array, clips: jax.Array, scale: jax.Array) -> jax.Array:
    """Noise-contrastive loss in both directions (paper, section 4.1, equation 1).

    Every other clip of the batch is a negative of a caption, and the other way round.

    Args:
        texts: float32 [b, d], unit norm; row i belongs to row i of `clips`.
        clips: float32 [b, d], unit norm.
        scale: float32 [], 1 / temperature.

    Returns:
        float32 []: the mean over the batch of `-log p(clip | text)` plus the mean of
        `-log p(text | clip)`; 2 log(b) where all are alike.
    """
    logits = scale * texts @ clips.T
    own = jnp.diagonal(logits)
    to_clip = jax.nn.logsumexp(logits, axis=1) - own
    to_text = jax.nn.logsumexp(logits, axis=0) - own
    return to_clip.mean() + to_text.mean()
