"""Published checkpoints of ViT and of AST into `ViT`.

    rgb = load_vit("checkpoints/vit-base-patch16-224")
    sound = load_vit("checkpoints/vit-base-patch16-224", spectrogram_config)

One picture checkpoint serves both streams: positions and the patch embedding are fitted
to the configuration asked for (`models.backbones.vit.interpolate` says how).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import nnx

from clipseed.errors import InputError
from models.backbones.vit.interpolate import Method, fit_kernel, fit_positions
from models.backbones.vit.model import ViT, ViTConfig
from models.nn.attention import Compute
from models.pretrained.checkpoint import (
    BLOCK_FIELDS,
    published_fields,
    published_value,
    read_config,
    read_tensors,
)
from models.pretrained.load_weights import Source, fill, layer_names, layer_sources

_VIT, AST = "vit", "audio-spectrogram-transformer"
MODEL_TYPES = (_VIT, AST)

_PREFIXES = ("vit.", "audio_spectrogram_transformer.")
# What published ViTs and ASTs carry beside the encoder.
BESIDE = (
    r"pooler\..*",
    r"(classifier|cls_classifier|distillation_classifier)\..*",
    r"decoder\..*",
    r"embeddings\.mask_token",
)

_LAYERS = {
    "attention.query": "attention.attention.query",
    "attention.key": "attention.attention.key",
    "attention.value": "attention.attention.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "layernorm_before",
    "mlp.expand": "intermediate.dense",
    "mlp.contract": "output.dense",
    "mlp_norm": "layernorm_after",
}


def vit_config(published: Mapping[str, Any]) -> ViTConfig:
    """Read the published configuration of a ViT or an AST.

    The two axes are (height, width), and (mel bins, frames) of a spectrogram.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    if not published.get("qkv_bias", True):
        raise InputError("bad_checkpoint", "attention without biases is not supported")
    fields = published_fields(published, BLOCK_FIELDS, ViTConfig())
    if published["model_type"] == _VIT:
        return ViTConfig(
            **fields,
            input_size=pair(published, "image_size", 224),
            patch=pair(published, "patch_size", 16),
            channels=published_value(published, "num_channels", 3),
        )
    mels, frames, patch, mel_step, frame_step = (
        published_value(published, name, default)
        for name, default in _AST_DEFAULTS.items()
    )
    return ViTConfig(
        **fields,
        input_size=(mels, frames),
        patch=(patch, patch),
        stride=(mel_step, frame_step),
        channels=1,
        extra_tokens=2,
    )


_AST_DEFAULTS = {
    "num_mel_bins": 128,
    "max_length": 1024,
    "patch_size": 16,
    "frequency_stride": 10,
    "time_stride": 10,
}


def pair(published: Mapping[str, Any], name: str, default: int) -> tuple[int, int]:
    """Return a published height and width, which may be one number for both.

    Raises:
        InputError: `bad_checkpoint`.
    """
    value = published.get(name, default)
    if not isinstance(value, list):
        value = [value, value]
    if len(value) != 2:
        raise InputError(
            "bad_checkpoint",
            f"config.json has {name} = {value!r}, where a height and a width belong",
        )
    height, width = (published_value({name: size}, name, default) for size in value)
    return height, width


def load_vit(
    directory: str,
    config: ViTConfig | None = None,
    compute: Compute | None = None,
    allow: Sequence[str] = (),
) -> ViT:
    """Load a published ViT or AST.

    Args:
        directory: local or `gs://`, with `config.json` and `model.safetensors`.
        config: of the model wanted; None: the checkpoint's own.
        compute: precision and cost.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: see `fill_vit`.
    """
    config = config or vit_config(read_config(directory, MODEL_TYPES))
    vit = ViT(config, nnx.Rngs(0), compute)
    fill_vit(vit, directory, allow)
    return vit


def fill_vit(vit: ViT, directory: str, allow: Sequence[str] = ()) -> None:
    """Set the parameters of a ViT, such as a stream of a larger model.

    Args:
        vit: changed in place; it may have another input size, number of channels, or an
            axis more than the checkpoint.
        directory: local or `gs://`, with `config.json` and `model.safetensors`.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    source = vit_config(read_config(directory, MODEL_TYPES))
    tensors = read_tensors(directory, _PREFIXES)
    fill(vit, vit_sources(vit, source), tensors, (*BESIDE, *allow))


def vit_sources(vit: ViT, source: ViTConfig) -> dict[str, Source]:
    """Return the source of each parameter, for a checkpoint of a configuration."""
    config = vit.config
    names = {"patches": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    names |= layer_names(config.layers, "encoder.layer", _LAYERS)
    extra = ("embeddings.cls_token", "embeddings.distillation_token")
    return layer_sources(vit, names) | {
        "extra_tokens": Source(extra[: source.extra_tokens], join_tokens),
        **fitted_sources(
            config,
            source,
            "embeddings.patch_embeddings.projection.weight",
            "embeddings.position_embeddings",
        ),
    }


def fitted_sources(
    config: ViTConfig,
    source: ViTConfig,
    kernel: str,
    positions: str,
    method: Method = "linear",
) -> dict[str, Source]:
    """Return sources of what depends on the input: patch embedding and positions.

    Args:
        config: of the model to fill.
        source: of the checkpoint.
        kernel: published name of the patch embedding's weight.
        positions: published name of the positional embeddings.
        method: how they are interpolated, see `fit_positions`.
    """

    def fitted_kernel(weight: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(weight, (0, 1), (-1, -2))
        return fit_kernel(moved, config.patch, config.channels)

    def fitted_positions(weight: np.ndarray) -> np.ndarray:
        rows = weight.reshape(-1, weight.shape[-1])
        return fit_positions(
            rows, source.extra_tokens, source.grid, config.grid, method
        )

    return {
        "patches.kernel": Source((kernel,), fitted_kernel),
        "positions": Source((positions,), fitted_positions),
    }


def join_tokens(*tokens: np.ndarray) -> np.ndarray:
    """Join published extra tokens, of any shape with one axis longer than 1."""
    return np.concatenate([token.reshape(1, -1) for token in tokens])
