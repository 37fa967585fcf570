"""Published checkpoints of DINOv2 into `ViT`.

    vit = load_dinov2("checkpoints/dinov2-base", 224)
    cls = vit(pixels)[:, 0]  # [b, 224, 224, 3] -> [b, 768]

Oquab et al., "DINOv2"; a ViT whose branches are scaled by learned factors. Published
for 518 pixels, it is used at 224: positions are interpolated as its authors do.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flax import nnx

from clipseed.errors import InputError
from models.backbones.vit.model import ViT, ViTConfig
from models.backbones.vit.weights import fitted_sources, join_tokens, pair
from models.nn.attention import Compute
from models.pretrained.checkpoint import (
    BLOCK_FIELDS,
    published_fields,
    published_value,
    read_config,
    read_tensors,
)
from models.pretrained.load_weights import Source, fill, layer_names, layer_sources

MODEL_TYPES = ("dinov2",)

_FIELDS = {ours: name for ours, name in BLOCK_FIELDS.items() if ours != "mlp"}
_LAYERS = {
    "attention.query": "attention.attention.query",
    "attention.key": "attention.attention.key",
    "attention.value": "attention.attention.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "norm1",
    "mlp.expand": "mlp.fc1",
    "mlp.contract": "mlp.fc2",
    "mlp_norm": "norm2",
}
# The token of masked patches in pretraining, and a classifier on top.
_BESIDE = (r"embeddings\.mask_token", r"classifier\..*")


def dinov2_config(published: Mapping[str, Any]) -> ViTConfig:
    """Read the published configuration of a DINOv2.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    if published.get("use_swiglu_ffn", False) or not published.get("qkv_bias", True):
        raise InputError(
            "bad_checkpoint",
            "SwiGLU layers (DINOv2-giant) and attention without biases are not "
            "supported: use the small, base or large model",
        )
    base = ViTConfig(norm_epsilon=1e-6)
    fields = published_fields(published, _FIELDS, base)
    return ViTConfig(
        **fields,
        mlp=fields["hidden"] * published_value(published, "mlp_ratio", 4),
        layer_scale=float(published_value(published, "layerscale_value", 1.0)),
        input_size=pair(published, "image_size", 224),
        patch=pair(published, "patch_size", 14),
        channels=published_value(published, "num_channels", 3),
    )


def load_dinov2(
    directory: str, size_px: int | None = None, compute: Compute | None = None
) -> ViT:
    """Load a published DINOv2.

    Args:
        directory: local or `gs://`, with `config.json` and safetensors.
        size_px: height and width of the pictures; None: the checkpoint's own.
        compute: precision and cost.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    source = dinov2_config(read_config(directory, MODEL_TYPES))
    config = source
    if size_px is not None:
        config = dataclasses.replace(source, input_size=(size_px, size_px))
    vit = ViT(config, nnx.Rngs(0), compute)
    tensors = read_tensors(directory, ["dinov2."])
    fill(vit, _sources(vit, source), tensors, _BESIDE)
    return vit


def _sources(vit: ViT, source: ViTConfig) -> dict[str, Source]:
    layers = vit.config.layers
    names = {"patches": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    names |= layer_names(layers, "encoder.layer", _LAYERS)
    scales = {
        f"blocks.{i}.{ours}": Source((f"encoder.layer.{i}.{theirs}.lambda1",))
        for i in range(layers)
        for ours, theirs in (
            ("attention_scale", "layer_scale1"),
            ("mlp_scale", "layer_scale2"),
        )
    }
    return (
        layer_sources(vit, names)
        | scales
        | {"extra_tokens": Source(("embeddings.cls_token",), join_tokens)}
        | fitted_sources(
            vit.config,
            source,
            "embeddings.patch_embeddings.projection.weight",
            "embeddings.position_embeddings",
            "bicubic",
        )
    )
