"""The Vision Transformer, over pictures, spectrograms or whole videos.

    vit = ViT(ViTConfig(), nnx.Rngs(0))
    tokens = vit(pictures)  # [b, 224, 224, 3] in [-1, 1] -> [b, 1 + 196, 768]
    cls = tokens[:, 0]

The axes that are cut into patches are free: `(224, 224)` of a picture, `(128, 800)` of
a spectrogram, `(32, 224, 224)` of a video with patches `(2, 16, 16)` (tubelets).
Dosovitskiy et al., "An Image is Worth 16x16 Words"; layer norm before each branch.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from models.nn.attention import Compute
from models.nn.transformer import BlockConfig, layer_norm, stack


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig(BlockConfig):
    """A Vision Transformer; the defaults are ViT-B/16's.

    Attributes:
        input_size: of the axes that are cut into patches.
        patch: size of a patch along them.
        stride: from one patch to the next; None: `patch`, so that they tile the input.
        channels: of the input.
        extra_tokens: 0 (SigLIP), 1 (CLS) or 2 (CLS and AST's distillation token).
        patch_bias: the patch embedding has a bias (CLIP's has none).
        embedding_norm: a layer norm before the first block (CLIP).
        layer_scale: initial value of learned factors of each branch (DINOv2); None:
            without them.
    """

    input_size: tuple[int, ...] = (224, 224)
    patch: tuple[int, ...] = (16, 16)
    stride: tuple[int, ...] | None = None
    channels: int = 3
    extra_tokens: int = 1
    patch_bias: bool = True
    embedding_norm: bool = False
    layer_scale: float | None = None

    def __post_init__(self) -> None:
        """Check the sizes against each other.

        Raises:
            InputError: `bad_model_config`.
        """
        super().__post_init__()
        axes = {len(self.input_size), len(self.patch), len(self.stride or self.patch)}
        if len(axes) > 1:
            raise InputError(
                "bad_model_config",
                f"input_size {self.input_size}, patch {self.patch} and stride "
                f"{self.stride} must have the same number of axes",
            )
        if min(self.grid) < 1:
            raise InputError(
                "bad_model_config",
                f"an input of {self.input_size} holds no patch of {self.patch}: make "
                "it larger or the patches smaller",
            )

    @property
    def steps(self) -> tuple[int, ...]:
        """From one patch to the next, along each axis."""
        return self.stride or self.patch

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of patches along each axis; what is left over is not seen."""
        sizes = zip(self.input_size, self.patch, self.steps, strict=True)
        return tuple((size - patch) // step + 1 for size, patch, step in sizes)

    @property
    def tokens(self) -> int:
        """The number of tokens, extra tokens included."""
        return self.extra_tokens + math.prod(self.grid)


class ViT(nnx.Module):
    """The Vision Transformer.

    Attributes:
        config: its sizes.
        blocks: its layers, to be called one by one where something happens between.
        norm: the last layer norm.
    """

    def __init__(
        self, config: ViTConfig, rngs: nnx.Rngs, compute: Compute | None = None
    ) -> None:
        compute = compute or Compute()
        self.config = config
        self.dtype = compute.dtype
        self.patches = nnx.Conv(
            config.channels,
            config.hidden,
            kernel_size=config.patch,
            strides=config.steps,
            padding="VALID",
            use_bias=config.patch_bias,
            dtype=compute.dtype,
            rngs=rngs,
        )
        normal = nnx.initializers.normal(0.02)
        if config.extra_tokens:
            extra = (config.extra_tokens, config.hidden)
            self.extra_tokens = nnx.Param(jnp.zeros(extra, jnp.float32))
        shape = (config.tokens, config.hidden)
        self.positions = nnx.Param(normal(rngs.params(), shape))
        if config.embedding_norm:
            self.embedding_norm = layer_norm(config, compute, rngs)
        self.blocks = stack(
            config, layer_scale=config.layer_scale, compute=compute, rngs=rngs
        )
        self.norm = layer_norm(config, compute, rngs)

    def embed(self, inputs: jax.Array) -> jax.Array:
        """Return the tokens that enter the first block: extra tokens, then patches.

        Args:
            inputs: [b, *input_size, channels]; patches follow each other in C order.

        Returns:
            [b, config.tokens, hidden].
        """
        tokens = self.patches(inputs).reshape(len(inputs), -1, self.config.hidden)
        if self.config.extra_tokens:
            extra = jnp.broadcast_to(
                self.extra_tokens.astype(self.dtype),
                (len(inputs), *self.extra_tokens.shape),
            )
            tokens = jnp.concatenate([extra, tokens], axis=1)
        tokens = tokens + self.positions.astype(self.dtype)
        return self.embedding_norm(tokens) if self.config.embedding_norm else tokens

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map [b, *input_size, channels] to [b, config.tokens, hidden], normed."""
        tokens = self.embed(inputs)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


def spectrogram_input(spectrograms: jax.Array) -> jax.Array:
    """Turn [b, frames, mels] into the input [b, mels, frames, 1] of a ViT."""
    return jnp.swapaxes(spectrograms, 1, 2)[..., None]
