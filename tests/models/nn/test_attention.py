import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.nn.attention import Attention, Compute

RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.normal(size=(3, 5, 12)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)


def by_hand(attention: Attention, seen: np.ndarray) -> np.ndarray:
    """Attention in NumPy, one head of one sequence at a time.

    Args:
        attention: whose parameters are taken.
        seen: bool [b, n, n], which key a query sees.
    """

    def linear(layer: nnx.Linear, x: np.ndarray) -> np.ndarray:
        return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])

    query, key, value = (
        linear(layer, TOKENS)
        for layer in (attention.query, attention.key, attention.value)
    )
    mixed = np.zeros_like(value)
    for b in range(3):
        for head in range(attention.heads):
            part = slice(head * 4, head * 4 + 4)
            logits = query[b, :, part] @ key[b, :, part].T / 2  # the root of 4
            logits = np.where(seen[b], logits, -1e30)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            mixed[b, :, part] = weights @ value[b, :, part]
    return linear(attention.output, mixed)


@pytest.mark.parametrize("causal", [False, True])
def test_equals_attention_by_hand(causal: bool) -> None:
    attention = Attention(12, 3, causal=causal, compute=Compute(), rngs=nnx.Rngs(0))
    before = np.tril(np.ones((5, 5), bool)) if causal else np.ones((5, 5), bool)
    wanted = by_hand(attention, np.repeat(before[None], 3, 0))
    np.testing.assert_allclose(attention(TOKENS), wanted, atol=1e-5)
    wanted = by_hand(attention, before & MASK[:, None])
    np.testing.assert_allclose(attention(TOKENS, MASK), wanted, atol=1e-5)


def test_nothing_to_look_at_gives_finite_gradients() -> None:
    attention = Attention(12, 3, compute=Compute(), rngs=nnx.Rngs(0))
    gradient = jax.grad(lambda tokens: attention(tokens, MASK).sum())(
        jnp.asarray(TOKENS)
    )
    assert np.isfinite(gradient).all()
