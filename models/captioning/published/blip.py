"""Published checkpoints of BLIP (base and large) that write captions.

Li et al., "BLIP: Bootstrapping Language-Image Pre-training": a ViT, and BERT turned
decoder, whose layers look at the picture by an attention of their own.
"""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from models.backbones.text_decoder.model import TextDecoder, TextDecoderConfig
from models.backbones.vit.model import ViT, ViTConfig
from models.backbones.vit.weights import fitted_sources, join_tokens, pair
from models.captioning.generation.config import GenerationConfig, generation_config
from models.captioning.image_to_text import ImageToText
from models.captioning.published.bert_decoder import BERT_FIELDS, bert_layers
from models.pretrained.checkpoint import (
    BLOCK_FIELDS,
    published_fields,
    published_value,
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

# The head shares the words' embeddings; some files hold them, and its bias, twice.
_BESIDE = (
    r".*\.position_ids",
    r"cls\.predictions\.decoder\.(weight|bias)",
)
_VISION_LAYERS = {
    "attention.output": "self_attn.projection",
    "attention_norm": "layer_norm1",
    "mlp.expand": "mlp.fc1",
    "mlp.contract": "mlp.fc2",
    "mlp_norm": "layer_norm2",
}
_HEAD = {
    "head.transform": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
}
_VISION = ViTConfig(norm_epsilon=1e-5)
_TEXT = TextDecoderConfig(
    activation="gelu",
    norm_epsilon=1e-12,
    vocabulary=30524,
    max_tokens=512,
    embedding_norm=True,
    post_norm=True,
    final_norm=False,
    context="cross",
    head_bias=True,
    head_transform=True,
)


def blip_generation(
    published: Mapping[str, Any], settings: Mapping[str, Any]
) -> GenerationConfig:
    """Return how a BLIP writes: by the tokens of its text model's configuration.

    Raises:
        InputError: `bad_checkpoint`.
    """
    text = {"bos_token_id": 30522, "sep_token_id": 102, "pad_token_id": 0}
    text |= published.get("text_config") or {}
    tokens = {
        "bos_token_id": text["bos_token_id"],
        "eos_token_id": text["sep_token_id"],
        "pad_token_id": text["pad_token_id"],
    }
    return generation_config({**settings, **tokens})


def load_blip(directory: str, published: Mapping[str, Any]) -> ImageToText:
    """Load a published BLIP.

    Args:
        directory: local or `gs://`, with safetensors.
        published: its `config.json`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `bad_model_config`,
            `checkpoint_mismatch`.
    """
    vision = _vision_config(published.get("vision_config") or {})
    text = published_fields(published.get("text_config") or {}, BERT_FIELDS, _TEXT)
    decoder = TextDecoder(
        TextDecoderConfig(**{**vars(_TEXT), **text, "context_width": vision.hidden}),
        nnx.Rngs(0),
    )
    model = ImageToText(ViT(vision, nnx.Rngs(0)), decoder)
    sources = under("encoder", _vision_sources(model.encoder))
    sources |= under("decoder", _text_sources(decoder))
    tensors = read_tensors(directory, ["text_decoder.bert.", "text_decoder."])
    fill(model, sources, tensors, _BESIDE)
    return model


def _vision_config(published: Mapping[str, Any]) -> ViTConfig:
    return ViTConfig(
        **published_fields(published, BLOCK_FIELDS, _VISION),
        input_size=pair(published, "image_size", 384),
        patch=pair(published, "patch_size", 16),
        channels=published_value(published, "num_channels", 3),
    )


def _vision_sources(vit: ViT) -> dict[str, Source]:
    embeddings, stack = "vision_model.embeddings", "vision_model.encoder.layers"
    config = vit.config
    names = {
        "patches": f"{embeddings}.patch_embedding",
        "norm": "vision_model.post_layernorm",
    }
    names |= layer_names(config.layers, stack, _VISION_LAYERS)
    sources = layer_sources(vit, names) | {
        "extra_tokens": Source((f"{embeddings}.class_embedding",), join_tokens),
        **fitted_sources(
            config,
            config,
            f"{embeddings}.patch_embedding.weight",
            f"{embeddings}.position_embedding",
        ),
    }
    for i in range(config.layers):
        paths = [f"blocks.{i}.attention.{part}" for part in ("query", "key", "value")]
        joined = f"{stack}.{i}.self_attn.qkv"
        sources |= joined_sources(paths, f"{joined}.weight", f"{joined}.bias")
    return sources


def _text_sources(decoder: TextDecoder) -> dict[str, Source]:
    names = bert_layers(decoder.config) | _HEAD
    bias = Source(("cls.predictions.bias",))
    return layer_sources(decoder, names) | {"head.bias": bias}
