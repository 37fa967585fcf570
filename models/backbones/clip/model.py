"""CLIP's image and text towers.

    # load_clip is in models.backbones.clip.weights
    clip = load_clip("checkpoints/clip-vit-base-patch32")
    pictures = unit(clip.image(pixels))  # [b, 224, 224, 3] -> [b, 512]
    captions = unit(clip.text(ids))  # int32 [c, n] -> [c, 512]
    logits = jnp.exp(clip.logit_scale[...]) * pictures @ captions.T

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision".
Pixels are normalized by CLIP's mean and deviation, see
`models.pretrained.preprocessing`.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from models.backbones.bert.model import check_length
from models.backbones.vit.model import ViT, ViTConfig
from models.nn.attention import Compute
from models.nn.transformer import BlockConfig, layer_norm, stack


def _vision() -> ViTConfig:
    return ViTConfig(
        patch=(32, 32),
        activation="quick_gelu",
        norm_epsilon=1e-5,
        patch_bias=False,
        embedding_norm=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipTextConfig(BlockConfig):
    """CLIP's text tower; the defaults are those beside ViT-B.

    Attributes:
        vocabulary: number of token ids.
        max_tokens: longest text.
        end_id: of the token whose output represents the text.
    """

    hidden: int = 512
    heads: int = 8
    mlp: int = 2048
    activation: str = "quick_gelu"
    norm_epsilon: float = 1e-5
    vocabulary: int = 49408
    max_tokens: int = 77
    end_id: int = 49407


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Both towers; the defaults are ViT-B/32's.

    Attributes:
        vision: of the image tower.
        text: of the text tower.
        projection: dimension of the common space.
    """

    vision: ViTConfig = dataclasses.field(default_factory=_vision)
    text: ClipTextConfig = dataclasses.field(default_factory=ClipTextConfig)
    projection: int = 512


class ClipImageTower(nnx.Module):
    """A ViT, its CLS token projected.

    Attributes:
        vit: the encoder.
        projection: to the common space.
    """

    def __init__(
        self,
        config: ViTConfig,
        projection: int,
        rngs: nnx.Rngs,
        compute: Compute | None = None,
    ) -> None:
        compute = compute or Compute()
        self.vit = ViT(config, rngs, compute)
        self.projection = _projection(config.hidden, projection, compute, rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Map normalized [b, h, w, channels] to [b, projection], not of unit norm."""
        return self.projection(self.vit(pixels)[:, 0])


class ClipTextTower(nnx.Module):
    """A causal transformer, its output at the end token projected.

    Args:
        config: its sizes.
        projection: dimension of the common space; None: the tower ends before the
            projection, as a part of another model.
        rngs: of the initial parameters.
        compute: precision and cost.

    Attributes:
        config: its sizes.
        blocks: its layers.
        projection: to the common space; None where it ends before.
    """

    def __init__(
        self,
        config: ClipTextConfig,
        projection: int | None,
        rngs: nnx.Rngs,
        compute: Compute | None = None,
    ) -> None:
        compute = compute or Compute()
        self.config = config

        def embed(rows: int, deviation: float) -> nnx.Embed:
            normal = nnx.initializers.normal(deviation)
            return nnx.Embed(
                rows,
                config.hidden,
                dtype=compute.dtype,
                embedding_init=normal,
                rngs=rngs,
            )

        self.words = embed(config.vocabulary, 0.02)
        self.positions = embed(config.max_tokens, 0.01)
        self.blocks = stack(config, causal=True, compute=compute, rngs=rngs)
        self.norm = layer_norm(config, compute, rngs)
        self.projection = (
            None
            if projection is None
            else _projection(config.hidden, projection, compute, rngs)
        )

    def __call__(self, ids: jax.Array) -> jax.Array:
        """Map token ids to the common space.

        Args:
            ids: int [b, n], each text with one end token at least; what follows its
                first is not seen.

        Returns:
            [b, projection], not of unit norm; [b, hidden] without a projection.

        Raises:
            InputError: `bad_model_config` if n is more than `config.max_tokens`.
        """
        check_length(ids.shape[1], self.config.max_tokens)
        tokens = self.words(ids) + self.positions(jnp.arange(ids.shape[1]))
        for block in self.blocks:
            tokens = block(tokens)
        ends = jnp.argmax(ids == self.config.end_id, axis=1)
        at_end = jnp.take_along_axis(tokens, ends[:, None, None], axis=1)[:, 0]
        normed = self.norm(at_end)
        return normed if self.projection is None else self.projection(normed)

    def represent(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Return what represents each text; see `models.retrieval.text_encoders`."""
        return self(ids)


class Clip(nnx.Module):
    """Both towers and the learned scale of their similarities.

    Attributes:
        image: the image tower.
        text: the text tower.
        logit_scale: float32 [], the natural logarithm of the scale.
    """

    def __init__(
        self, config: ClipConfig, rngs: nnx.Rngs, compute: Compute | None = None
    ) -> None:
        self.config = config
        self.image = ClipImageTower(config.vision, config.projection, rngs, compute)
        self.text = ClipTextTower(config.text, config.projection, rngs, compute)
        self.logit_scale = nnx.Param(jnp.log(jnp.float32(1 / 0.07)))


def unit(vectors: jax.Array) -> jax.Array:
    """Scale [..., d] to unit norm, in float32."""
    wide = vectors.astype(jnp.float32)
    return wide / jnp.linalg.norm(wide, axis=-1, keepdims=True)


def _projection(
    hidden: int, dimension: int, compute: Compute, rngs: nnx.Rngs
) -> nnx.Linear:
    return nnx.Linear(hidden, dimension, use_bias=False, dtype=compute.dtype, rngs=rngs)
