import jax.numpy as jnp
import numpy as np
import pytest

from models.captioning.losses import token_sums
from models.tokenizers.base import Tokens


def test_each_token_after_the_start_counts() -> None:
    # Of 4 tokens the right one has probability 1/2, the others 1/6.
    ids = np.array([[0, 3, 1, 2], [0, 1, 2, 2]], np.int32)
    mask = np.array([[True] * 4, [True, True, True, False]])
    logits = np.zeros((2, 3, 4), np.float32)
    for row in range(2):
        for place in range(3):
            logits[row, place, ids[row, place + 1]] = np.log(3)
    logits[0, 2] = np.log([1, 5, 1, 1])  # wrong: probability 1/8
    sums = token_sums(jnp.asarray(logits), Tokens(ids, mask))
    wanted = [2 * np.log(2) + np.log(8), 2 * np.log(2)]
    assert sums.loss.tolist() == pytest.approx(wanted, rel=1e-6)
    assert sums.right.tolist() == [2, 2] and sums.tokens.tolist() == [3, 2]
