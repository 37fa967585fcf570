"""SigLIP's image tower, and its published checkpoints.

    tower = load_siglip_image_tower("checkpoints/siglip-base-patch16-224")
    pictures = tower(pixels)  # [b, 224, 224, 3] in [-1, 1] -> [b, 768]

Zhai et al., "Sigmoid Loss for Language Image Pre-Training": a ViT without a CLS token,
whose patches one learned query attends to. SigLIP 2 at fixed sizes is the same model
(its checkpoints of variable size, NaFlex, are another and are not read).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clipseed.errors import InputError
from models.backbones.clip.weights import LAYERS
from models.backbones.vit.model import ViT, ViTConfig
from models.backbones.vit.weights import fitted_sources, pair
from models.nn.attention import Compute
from models.nn.transformer import Mlp, layer_norm
from models.pretrained.checkpoint import (
    BLOCK_FIELDS,
    published_fields,
    published_value,
    read_config,
    read_tensors,
)
from models.pretrained.load_weights import (
    Source,
    fill,
    joined_sources,
    layer_names,
    layer_sources,
    under,
)

MODEL_TYPES = ("siglip", "siglip_vision_model")

# What is published beside the image tower.
_BESIDE = (
    r"text_model\..*",
    r"logit_(scale|bias)",
    r"classifier\..*",
    r".*\.position_ids",
)
_BASE = ViTConfig(activation="gelu_pytorch_tanh", norm_epsilon=1e-6, extra_tokens=0)


class AttentionPool(nnx.Module):
    """One learned query that attends to all tokens, then an MLP.

    Args:
        config: of the ViT whose tokens are pooled.
        compute: precision.
        rngs: of the initial parameters.
    """

    def __init__(self, config: ViTConfig, compute: Compute, rngs: nnx.Rngs) -> None:
        self.heads = config.heads
        hidden = config.hidden
        normal = nnx.initializers.normal(0.02)
        self.probe = nnx.Param(normal(rngs.params(), (1, hidden)))

        def linear() -> nnx.Linear:
            return nnx.Linear(hidden, hidden, dtype=compute.dtype, rngs=rngs)

        self.query, self.key, self.value = linear(), linear(), linear()
        self.output = linear()
        self.norm = layer_norm(config, compute, rngs)
        self.mlp = Mlp(config, compute, rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map [b, n, hidden] to [b, hidden]."""
        b = len(tokens)
        probe = jnp.broadcast_to(self.probe[...], (b, *self.probe.shape))
        query = self.query(probe.astype(tokens.dtype)).reshape(b, 1, self.heads, -1)
        key, value = (
            linear(tokens).reshape(b, tokens.shape[1], self.heads, -1)
            for linear in (self.key, self.value)
        )
        mixed = jax.nn.dot_product_attention(query, key, value)
        pooled = self.output(mixed.reshape(b, 1, -1))
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]


class SiglipImageTower(nnx.Module):
    """A ViT and its pooling.

    Attributes:
        vit: the encoder.
        head: the pooling.
    """

    def __init__(
        self, config: ViTConfig, rngs: nnx.Rngs, compute: Compute | None = None
    ) -> None:
        compute = compute or Compute()
        self.vit = ViT(config, rngs, compute)
        self.head = AttentionPool(config, compute, rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Map normalized [b, h, w, channels] to [b, hidden], not of unit norm."""
        return self.head(self.vit(pixels))


def siglip_vision_config(published: Mapping[str, Any]) -> ViTConfig:
    """Read the published configuration of an image tower.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    if not published.get("vision_use_head", True):
        raise InputError(
            "bad_checkpoint",
            "an image tower without its pooling (vision_use_head false) has no vector "
            "for a picture: use a checkpoint with it",
        )
    return dataclasses.replace(
        _BASE,
        **published_fields(published, BLOCK_FIELDS, _BASE),
        input_size=pair(published, "image_size", 224),
        patch=pair(published, "patch_size", 16),
        channels=published_value(published, "num_channels", 3),
    )


def load_siglip_image_tower(
    directory: str, compute: Compute | None = None
) -> SiglipImageTower:
    """Load the image tower of a published SigLIP, with or without its text tower.

    Args:
        directory: local or `gs://`, with `config.json` and safetensors.
        compute: precision and cost.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    published = read_config(directory, MODEL_TYPES)
    config = siglip_vision_config(
        published.get("vision_config") or {}
        if published["model_type"] == "siglip"
        else published
    )
    tower = SiglipImageTower(config, nnx.Rngs(0), compute)
    fill(tower, _sources(tower), read_tensors(directory), _BESIDE)
    return tower


def _sources(tower: SiglipImageTower) -> dict[str, Source]:
    embeddings, head = "vision_model.embeddings", "vision_model.head"
    config = tower.vit.config
    names = {
        "vit.patches": f"{embeddings}.patch_embedding",
        "vit.norm": "vision_model.post_layernorm",
        "head.output": f"{head}.attention.out_proj",
        "head.norm": f"{head}.layernorm",
        "head.mlp.expand": f"{head}.mlp.fc1",
        "head.mlp.contract": f"{head}.mlp.fc2",
    }
    layers = layer_names(config.layers, "vision_model.encoder.layers", LAYERS)
    names |= {f"vit.{ours}": theirs for ours, theirs in layers.items()}
    fitted = fitted_sources(
        config,
        config,
        f"{embeddings}.patch_embedding.weight",
        f"{embeddings}.position_embedding.weight",
    )
    return (
        layer_sources(tower, names)
        | under("vit", fitted)
        | {"head.probe": Source((f"{head}.probe",), _row)}
        | joined_sources(
            ["head.query", "head.key", "head.value"],
            f"{head}.attention.in_proj_weight",
            f"{head}.attention.in_proj_bias",
        )
    )


def _row(probe: np.ndarray) -> np.ndarray:
    return probe.reshape(1, -1)
