"""The contrastive loss against NumPy written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.retrieval.losses import nce_loss


def rows(seed: int, count: int = 5) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal((count, 4))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def by_hand(texts: np.ndarray, clips: np.ndarray, temperature: float) -> float:
    total = 0.0
    for queries, answers in ((texts, clips), (clips, texts)):
        for i, query in enumerate(queries):
            scores = [np.exp(float(query @ a) / temperature) for a in answers]
            total -= np.log(scores[i] / sum(scores)) / len(queries)
    return total


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_it_is_what_numpy_says(temperature: float) -> None:
    texts, clips = rows(0), rows(1)
    loss = nce_loss(texts, clips, jnp.float32(1 / temperature))
    assert float(loss) == pytest.approx(by_hand(texts, clips, temperature), rel=1e-5)


def test_alike_is_chance_and_apart_is_nothing() -> None:
    alike = np.repeat(rows(0, 1), 7, axis=0)
    assert float(nce_loss(alike, alike, jnp.float32(20))) == pytest.approx(
        2 * np.log(7), rel=1e-5
    )
    assert float(nce_loss(jnp.eye(4), jnp.eye(4), jnp.float32(20))) < 1e-6


def test_the_gradient_is_the_slope() -> None:
    texts, clips = rows(0), rows(1)
    gradient = jax.grad(nce_loss)(texts, clips, jnp.float32(2))
    step = np.zeros_like(texts)
    step[2, 1] = 1e-3
    slope = (by_hand(texts + step, clips, 0.5) - by_hand(texts - step, clips, 0.5)) / (
        2e-3
    )
    assert float(gradient[2, 1]) == pytest.approx(slope, rel=1e-3)
