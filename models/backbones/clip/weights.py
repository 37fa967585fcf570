"""Published checkpoints of CLIP into `Clip`, or its image tower alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from flax import nnx

from models.backbones.clip.model import (
    Clip,
    ClipConfig,
    ClipImageTower,
    ClipTextConfig,
    ClipTextTower,
)
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
from models.pretrained.load_weights import (
    Source,
    fill,
    layer_names,
    layer_sources,
    under,
)

VISION_TYPES = ("clip", "clip_vision_model")
TEXT_TYPES = ("clip", "clip_text_model")

# Of both towers, and of SigLIP's.
LAYERS = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "attention_norm": "layer_norm1",
    "mlp.expand": "mlp.fc1",
    "mlp.contract": "mlp.fc2",
    "mlp_norm": "layer_norm2",
}
# Tables of indices that older checkpoints keep.
_BESIDE = (r".*\.position_ids",)
_NOT_TEXT = (
    r"vision_model\..*",
    r"(visual|text)_projection\..*",
    r"logit_scale",
)
_NOT_VISION = (r"text_model\..*", r"text_projection\..*", r"logit_scale")
# CLIP was published with this id for the end token, and code that did not use it but
# took the largest id of the text, which is the end token's.
_UNUSED_END_ID = 2


def clip_config(published: Mapping[str, Any]) -> ClipConfig:
    """Read the published configuration of a CLIP.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    default = ClipConfig()
    return ClipConfig(
        vision=clip_vision_config(published),
        text=clip_text_config(published),
        projection=published_value(published, "projection_dim", default.projection),
    )


def clip_text_config(published: Mapping[str, Any]) -> ClipTextConfig:
    """Read the configuration of a CLIP's text tower, published whole or alone.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    text = published_fields(
        _part(published, "text"),
        {
            **BLOCK_FIELDS,
            "vocabulary": "vocab_size",
            "max_tokens": "max_position_embeddings",
            "end_id": "eos_token_id",
        },
        ClipTextConfig(),
    )
    if text["end_id"] == _UNUSED_END_ID:
        text["end_id"] = text["vocabulary"] - 1
    return ClipTextConfig(**text)


def clip_vision_config(published: Mapping[str, Any]) -> ViTConfig:
    """Read the configuration of a CLIP's image tower, published whole or alone.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    vision, default = _part(published, "vision"), ClipConfig().vision
    return dataclasses.replace(
        default,
        **published_fields(vision, BLOCK_FIELDS, default),
        input_size=pair(vision, "image_size", 224),
        patch=pair(vision, "patch_size", 32),
        channels=published_value(vision, "num_channels", 3),
    )


def _part(published: Mapping[str, Any], tower: str) -> Mapping[str, Any]:
    """Return the configuration of the tower `text` or `vision`.

    The first CLIPs have it twice. What `text_config_dict` says then counts, and what it
    does not say has its default, whatever `text_config` says.
    """
    if published.get("model_type") == f"clip_{tower}_model":
        return published
    old = published.get(f"{tower}_config_dict")
    found = published.get(f"{tower}_config") if old is None else old
    return found or {}


def load_clip(
    directory: str,
    config: ClipConfig | None = None,
    compute: Compute | None = None,
    allow: Sequence[str] = (),
) -> Clip:
    """Load a published CLIP.

    Args:
        directory: local or `gs://`, with `config.json` and `model.safetensors`.
        config: of the model wanted, such as with another picture size; None: the
            checkpoint's own.
        compute: precision and cost.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    source = clip_config(read_config(directory, ["clip"]))
    clip = Clip(config or source, nnx.Rngs(0), compute)
    found = {
        **under("image", _image_sources(clip.image, source.vision)),
        **under("text", _text_sources(clip.text)),
        "logit_scale": Source(("logit_scale",)),
    }
    fill(clip, found, read_tensors(directory), (*_BESIDE, *allow))
    return clip


def load_clip_image_tower(
    directory: str, compute: Compute | None = None
) -> ClipImageTower:
    """Load the image tower of a published CLIP, whole or without its text tower.

    Raises:
        InputError: as `load_clip`.
    """
    published = read_config(directory, VISION_TYPES)
    config = clip_config(published)
    tower = ClipImageTower(config.vision, config.projection, nnx.Rngs(0), compute)
    tensors = read_tensors(directory)
    found = _image_sources(tower, config.vision)
    fill(tower, found, tensors, (*_BESIDE, *_NOT_VISION))
    return tower


def fill_clip_vision(vit: ViT, directory: str, allow: Sequence[str] = ()) -> None:
    """Set the parameters of a ViT to those of a CLIP's image tower.

    Args:
        vit: changed in place; it may have another input size, or an axis more.
        directory: local or `gs://`, with `config.json` and safetensors.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: as `load_clip`.
    """
    source = clip_vision_config(read_config(directory, VISION_TYPES))
    beside = (*_BESIDE, *_NOT_VISION, r"visual_projection\..*", *allow)
    fill(vit, clip_vit_sources(vit, source), read_tensors(directory), beside)


def fill_clip_text(
    tower: ClipTextTower, directory: str, allow: Sequence[str] = ()
) -> None:
    """Set the parameters of a text tower without projection to those of a CLIP.

    Args:
        tower: changed in place.
        directory: local or `gs://`, with `config.json` and safetensors.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: as `load_clip`.
    """
    read_config(directory, TEXT_TYPES)
    beside = (*_BESIDE, *_NOT_TEXT, *allow)
    fill(tower, _text_sources(tower), read_tensors(directory), beside)


def _image_sources(tower: ClipImageTower, source: ViTConfig) -> dict[str, Source]:
    projection = layer_sources(tower, {"projection": "visual_projection"})
    return under("vit", clip_vit_sources(tower.vit, source)) | projection


def clip_vit_sources(vit: ViT, source: ViTConfig) -> dict[str, Source]:
    """Return the source of each parameter of an image tower's ViT."""
    embeddings = "vision_model.embeddings"
    names = {
        "patches": f"{embeddings}.patch_embedding",
        # So it is spelled in every published checkpoint.
        "embedding_norm": "vision_model.pre_layrnorm",
        "norm": "vision_model.post_layernorm",
    }
    config = vit.config
    names |= layer_names(config.layers, "vision_model.encoder.layers", LAYERS)
    return layer_sources(vit, names) | {
        "extra_tokens": Source((f"{embeddings}.class_embedding",), join_tokens),
        **fitted_sources(
            config,
            source,
            f"{embeddings}.patch_embedding.weight",
            f"{embeddings}.position_embedding.weight",
        ),
    }


def _text_sources(tower: ClipTextTower) -> dict[str, Source]:
    names = {
        "words": "text_model.embeddings.token_embedding",
        "positions": "text_model.embeddings.position_embedding",
        "norm": "text_model.final_layer_norm",
        "projection": "text_projection",
    }
    layers = tower.config.layers
    names |= layer_names(layers, "text_model.encoder.layers", LAYERS)
    return layer_sources(tower, names)
