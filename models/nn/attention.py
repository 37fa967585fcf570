"""Multi-head self-attention, and how a model computes.

`Compute` travels beside a model's configuration: the configuration says what is
computed (and comes with a checkpoint), `Compute` at what precision and cost.
"""

import dataclasses
from typing import Any, Literal

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


class Attention(nnx.Module):
    """Multi-head self-attention with biases everywhere, as BERT, ViT and CLIP have it.

    Args:
        hidden: width of the tokens; a multiple of `heads`.
        heads: number of heads.
        causal: a token sees itself and those before it.
        compute: precision and implementation.
        rngs: of the initial parameters.
    """

    def __init__(
        self,
        hidden: int,
        heads: int,
        *,
        causal: bool = False,
        compute: Compute,
        rngs: nnx.Rngs,
    ) -> None:
        self.heads = heads
        self.causal = causal
        self.implementation = compute.attention

        def linear() -> nnx.Linear:
            return nnx.Linear(hidden, hidden, dtype=compute.dtype, rngs=rngs)

        self.query, self.key, self.value = linear(), linear(), linear()
        self.output = linear()

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
