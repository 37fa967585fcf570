"""Transformer blocks: what BERT, ViT, AST and CLIP are stacks of.

A block is called on any tokens, so that a model may do something of its own between
two layers (bottleneck fusion adds and averages tokens there):

    for block in vit.blocks[:8]:
        tokens = block(tokens)
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from models.nn.attention import Attention, Compute


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """A stack of blocks; the defaults are ViT-Base's and BERT-Base's.

    Attributes:
        hidden: width of a token.
        layers: number of blocks.
        heads: attention heads a block.
        mlp: width inside a block's MLP.
        activation: a name of `ACTIVATIONS`.
        norm_epsilon: of the layer norms.
    """

    hidden: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    activation: str = "gelu"
    norm_epsilon: float = 1e-12

    def __post_init__(self) -> None:
        """Check what would otherwise fail far from its cause.

        Raises:
            InputError: `bad_model_config`.
        """
        if self.activation not in ACTIVATIONS:
            raise InputError(
                "bad_model_config",
                f"unknown activation {self.activation!r}: use one of "
                + ", ".join(ACTIVATIONS),
            )
        if min(self.hidden, self.heads, self.mlp) < 1 or self.hidden % self.heads:
            raise InputError(
                "bad_model_config",
                f"the width {self.hidden} does not split over {self.heads} heads: make "
                "it a multiple of them",
            )


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def _quick_gelu(x: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(1.702 * x)


# By the names of published configurations.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": _gelu,
    "gelu_new": jax.nn.gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "quick_gelu": _quick_gelu,
    "relu": jax.nn.relu,
}


def layer_norm(config: BlockConfig, compute: Compute, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Return a layer norm whose variance does not cancel in float32."""
    return nnx.LayerNorm(
        config.hidden,
        epsilon=config.norm_epsilon,
        dtype=compute.dtype,
        use_fast_variance=False,
        rngs=rngs,
    )


class Mlp(nnx.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: BlockConfig, compute: Compute, rngs: nnx.Rngs) -> None:
        self.activation = config.activation
        self.expand = nnx.Linear(
            config.hidden, config.mlp, dtype=compute.dtype, rngs=rngs
        )
        self.contract = nnx.Linear(
            config.mlp, config.hidden, dtype=compute.dtype, rngs=rngs
        )

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map [..., hidden] to [..., hidden]."""
        return self.contract(ACTIVATIONS[self.activation](self.expand(tokens)))


class Block(nnx.Module):
    """Attention and MLP, each with a residual connection and a layer norm.

    Args:
        config: its sizes.
        post_norm: normalize after the residual sum (BERT), not before the branch (ViT).
        causal: a token sees itself and those before it.
        layer_scale: initial value of learned factors, one a channel, that each branch
            is multiplied by (DINOv2; not with `post_norm`); None: without them.
        compute: precision and cost.
        rngs: of the initial parameters.
    """

    def __init__(
        self,
        config: BlockConfig,
        *,
        post_norm: bool = False,
        causal: bool = False,
        layer_scale: float | None = None,
        compute: Compute,
        rngs: nnx.Rngs,
    ) -> None:
        self.post_norm = post_norm
        self.remat = compute.remat
        self.attention = Attention(
            config.hidden, config.heads, causal=causal, compute=compute, rngs=rngs
        )
        self.attention_norm = layer_norm(config, compute, rngs)
        self.mlp = Mlp(config, compute, rngs)
        self.mlp_norm = layer_norm(config, compute, rngs)
        self.scaled = layer_scale is not None
        if layer_scale is not None:
            scale = jnp.full(config.hidden, layer_scale, jnp.float32)
            self.attention_scale, self.mlp_scale = nnx.Param(scale), nnx.Param(scale)

    def __call__(self, tokens: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Map [b, n, hidden] to [b, n, hidden].

        Args:
            tokens: any tokens of the block's width, in any number.
            mask: bool [b, n], the tokens that may be looked at; None: all.
        """
        forward = nnx.remat(_forward) if self.remat else _forward
        return forward(self, tokens, mask)


def _forward(block: Block, tokens: jax.Array, mask: jax.Array | None) -> jax.Array:
    if block.post_norm:
        tokens = block.attention_norm(tokens + block.attention(tokens, mask))
        return block.mlp_norm(tokens + block.mlp(tokens))
    attended = block.attention(block.attention_norm(tokens), mask)
    if block.scaled:
        attended = attended * block.attention_scale.astype(attended.dtype)
    tokens = tokens + attended
    mapped = block.mlp(block.mlp_norm(tokens))
    if block.scaled:
        mapped = mapped * block.mlp_scale.astype(mapped.dtype)
    return tokens + mapped


def stack(
    config: BlockConfig,
    *,
    post_norm: bool = False,
    causal: bool = False,
    layer_scale: float | None = None,
    compute: Compute,
    rngs: nnx.Rngs,
) -> nnx.List:
    """Return the `config.layers` blocks of a model, as a list to call one by one."""
    return nnx.List(
        Block(
            config,
            post_norm=post_norm,
            causal=causal,
            layer_scale=layer_scale,
            compute=compute,
            rngs=rngs,
        )
        for _ in range(config.layers)
    )
