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
    text = published_fields(
        published.get("text_config") or {},
        {
            **BLOCK_FIELDS,
            "vocabulary": "vocab_size",
            "max_tokens": "max_position_embeddings",
            "end_id": "eos_token_id",
        },
        default.text,
    )
    if text["end_id"] == _UNUSED_END_ID:
        text["end_id"] = text["vocabulary"] - 1
    return ClipConfig(
        vision=_vision_config(published.get("vision_config") or {}),
        text=ClipTextConfig(**text),
        projection=published_value(published, "projection_dim", default.projection),
    )


def _vision_config(published: Mapping[str, Any]) -> ViTConfig:
    default = ClipConfig().vision
    return dataclasses.replace(
        default,
        **published_fields(published, BLOCK_FIELDS, default),
        input_size=pair(published, "image_size", 224),
        patch=pair(published, "patch_size", 32),
        channels=published_value(published, "num_channels", 3),
    )


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
    if published["model_type"] == "clip_vision_model":
        published = {**published, "vision_config": published}
    config = clip_config(published)
    tower = ClipImageTower(config.vision, config.projection, nnx.Rngs(0), compute)
    tensors = read_tensors(directory)
    found = _image_sources(tower, config.vision)
    fill(tower, found, tensors, (*_BESIDE, *_NOT_VISION))
    return tower


def clip_vision_config(published: Mapping[str, Any]) -> ViTConfig:
    """Read the configuration of a CLIP's image tower, published whole or alone.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    alone = published.get("model_type") == "clip_vision_model"
    return _vision_config(published if alone else published.get("vision_config") or {})


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
