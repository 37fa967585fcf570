"""TimeSformer, the video encoder, and its published checkpoints.

    timesformer = load_timesformer("checkpoints/timesformer-base-finetuned-k400")
    tokens = timesformer(frames)  # [b, 8, 224, 224, 3] -> [b, 1 + 196 * 8, 768]

Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?", with
divided attention: a patch looks at its place in the other frames, then at its frame.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clipseed.errors import InputError
from models.backbones.vit.model import ViTConfig
from models.backbones.vit.weights import join_tokens, pair
from models.nn.attention import Attention, Compute
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
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimesformerConfig(ViTConfig):
    """A TimeSformer; the defaults are the base model's.

    Attributes:
        frames: number of frames of a video.
    """

    frames: int = 8
    norm_epsilon: float = 1e-6


class DividedBlock(nnx.Module):
    """Attention over time, then over a frame's patches, then an MLP."""

    def __init__(
        self, config: TimesformerConfig, compute: Compute, rngs: nnx.Rngs
    ) -> None:
        def attention() -> Attention:
            return Attention(config.hidden, config.heads, compute=compute, rngs=rngs)

        self.time, self.space = attention(), attention()
        self.time_norm = layer_norm(config, compute, rngs)
        self.space_norm = layer_norm(config, compute, rngs)
        self.time_output = nnx.Linear(
            config.hidden, config.hidden, dtype=compute.dtype, rngs=rngs
        )
        self.mlp = Mlp(config, compute, rngs)
        self.mlp_norm = layer_norm(config, compute, rngs)

    def __call__(
        self, cls: jax.Array, patches: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Map the CLS token [b, hidden] and patches [b, frames, places, hidden]."""
        b, frames, places, hidden = patches.shape
        columns = jnp.swapaxes(patches, 1, 2).reshape(b * places, frames, hidden)
        attended = self.time_output(self.time(self.time_norm(columns)))
        attended = attended.reshape(b, places, frames, hidden)
        patches = patches + jnp.swapaxes(attended, 1, 2)

        # Each frame sees the CLS token, which then takes what it saw on average.
        every = jnp.broadcast_to(cls[:, None, None], (b, frames, 1, hidden))
        pictures = jnp.concatenate([every, patches], axis=2)
        pictures = pictures.reshape(b * frames, 1 + places, hidden)
        attended = self.space(self.space_norm(pictures))
        attended = attended.reshape(b, frames, 1 + places, hidden)
        cls = cls + attended[:, :, 0].mean(axis=1)
        patches = patches + attended[:, :, 1:]
        return (
            cls + self.mlp(self.mlp_norm(cls)),
            patches + self.mlp(self.mlp_norm(patches)),
        )


class Timesformer(nnx.Module):
    """TimeSformer with divided space-time attention.

    Attributes:
        config: its sizes.
        blocks: its layers.
        norm: the last layer norm.
    """

    def __init__(
        self, config: TimesformerConfig, rngs: nnx.Rngs, compute: Compute | None = None
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
            dtype=compute.dtype,
            rngs=rngs,
        )
        normal = nnx.initializers.normal(0.02)
        self.extra_tokens = nnx.Param(jnp.zeros((1, config.hidden), jnp.float32))
        places = (config.tokens, config.hidden)
        self.positions = nnx.Param(normal(rngs.params(), places))
        self.times = nnx.Param(normal(rngs.params(), (config.frames, config.hidden)))
        self.blocks = nnx.List(
            DividedBlock(config, compute, rngs) for _ in range(config.layers)
        )
        self.norm = layer_norm(config, compute, rngs)

    def __call__(self, videos: jax.Array) -> jax.Array:
        """Map [b, frames, *input_size, channels] to [b, 1 + frames * places, hidden].

        The CLS token comes first, then the patches of the first frame.
        """
        b, frames = videos.shape[:2]
        places = math.prod(self.config.grid)
        patches = self.patches(videos.reshape(b * frames, *videos.shape[2:]))
        patches = patches.reshape(b, frames, places, -1)
        positions = self.positions.astype(self.dtype)
        patches = patches + positions[1:] + self.times.astype(self.dtype)[:, None]
        cls = self.extra_tokens.astype(self.dtype) + positions[:1]
        cls = jnp.broadcast_to(cls, (b, cls.shape[1]))
        for block in self.blocks:
            cls, patches = block(cls, patches)
        tokens = patches.reshape(b, frames * places, -1)
        return self.norm(jnp.concatenate([cls[:, None], tokens], axis=1))


# --- published checkpoints -----------------------------------------------------------

_BESIDE = (r"classifier\..*",)
_OUTSIDE_LAYERS = {
    "patches": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
_LAYERS = {
    "time.output": "temporal_attention.output.dense",
    "time_norm": "temporal_layernorm",
    "time_output": "temporal_dense",
    "space.output": "attention.output.dense",
    "space_norm": "layernorm_before",
    "mlp.expand": "intermediate.dense",
    "mlp.contract": "output.dense",
    "mlp_norm": "layernorm_after",
}


def timesformer_config(published: Mapping[str, Any]) -> TimesformerConfig:
    """Read the published configuration of a TimeSformer.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    kind = published.get("attention_type", "divided_space_time")
    if kind != "divided_space_time" or not published.get("qkv_bias", True):
        raise InputError(
            "bad_checkpoint",
            f"attention of type {kind!r}, or without biases, is not supported: use a "
            "TimeSformer of type divided_space_time",
        )
    return TimesformerConfig(
        **published_fields(published, BLOCK_FIELDS, TimesformerConfig()),
        input_size=pair(published, "image_size", 224),
        patch=pair(published, "patch_size", 16),
        channels=published_value(published, "num_channels", 3),
        frames=published_value(published, "num_frames", 8),
    )


def load_timesformer(
    directory: str, compute: Compute | None = None, allow: Sequence[str] = ()
) -> Timesformer:
    """Load a published TimeSformer.

    Args:
        directory: local or `gs://`, with `config.json` and safetensors.
        compute: precision and cost.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    config = timesformer_config(read_config(directory, ["timesformer"]))
    timesformer = Timesformer(config, nnx.Rngs(0), compute)
    tensors = read_tensors(directory, ["timesformer."])
    fill(timesformer, _sources(timesformer), tensors, (*_BESIDE, *allow))
    return timesformer


def _sources(timesformer: Timesformer) -> dict[str, Source]:
    layers = timesformer.config.layers
    names = _OUTSIDE_LAYERS | layer_names(layers, "encoder.layer", _LAYERS)
    sources = layer_sources(timesformer, names) | {
        "extra_tokens": Source(("embeddings.cls_token",), join_tokens),
        "positions": Source(("embeddings.position_embeddings",), _rows),
        "times": Source(("embeddings.time_embeddings",), _rows),
    }
    for i in range(layers):
        for ours, theirs in (("time", "temporal_attention"), ("space", "attention")):
            paths = [f"blocks.{i}.{ours}.{part}" for part in ("query", "key", "value")]
            joined = f"encoder.layer.{i}.{theirs}.attention.qkv"
            sources |= joined_sources(paths, f"{joined}.weight", f"{joined}.bias")
    return sources


def _rows(positions: np.ndarray) -> np.ndarray:
    return positions.reshape(-1, positions.shape[-1])
