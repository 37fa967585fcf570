"""Published checkpoints of GIT.

Wang et al., "GIT: A Generative Image-to-text Transformer": CLIP's image tower, whose
tokens precede the text in one transformer. Checkpoints made for videos are read, too;
of them a picture needs no embeddings of time.
"""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from models.backbones.clip.weights import clip_vision_config, clip_vit_sources
from models.backbones.text_decoder.model import TextDecoder, TextDecoderConfig
from models.backbones.vit.model import ViT
from models.captioning.generation.config import GenerationConfig, generation_config
from models.captioning.image_to_text import Bridge, ImageToText
from models.captioning.published.bert_decoder import BERT_FIELDS, bert_layers
from models.nn.attention import Compute
from models.pretrained.checkpoint import published_fields, read_tensors
from models.pretrained.load_weights import Source, fill, layer_sources, under

_BESIDE = (r".*\.position_ids", r"img_temperal_embedding\..*")
_BRIDGE = {
    "linear": "visual_projection.visual_projection.0",
    "norm": "visual_projection.visual_projection.1",
}
_TEXT = TextDecoderConfig(
    layers=6,
    activation="gelu",
    norm_epsilon=1e-12,
    vocabulary=30522,
    max_tokens=1024,
    embedding_norm=True,
    post_norm=True,
    final_norm=False,
    context="prefix",
    tied=False,
    head_bias=True,
)


def git_generation(
    published: Mapping[str, Any], settings: Mapping[str, Any]
) -> GenerationConfig:
    """Return how a GIT writes.

    Raises:
        InputError: `bad_checkpoint`.
    """
    tokens = {"bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0}
    return generation_config({**tokens, **published, **settings})


def load_git(directory: str, published: Mapping[str, Any]) -> ImageToText:
    """Load a published GIT.

    Args:
        directory: local or `gs://`, with safetensors.
        published: its `config.json`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `bad_model_config`,
            `checkpoint_mismatch`.
    """
    vision = clip_vision_config({"patch_size": 16, **_vision(published)})
    text = published_fields(published, BERT_FIELDS, _TEXT)
    config = TextDecoderConfig(
        **{**vars(_TEXT), **text, "context_width": text["hidden"]}
    )
    rngs = nnx.Rngs(0)
    bridge = Bridge(vision.hidden, config.hidden, vision.norm_epsilon, rngs, Compute())
    model = ImageToText(ViT(vision, rngs), TextDecoder(config, rngs), bridge)
    sources = under("encoder", clip_vit_sources(model.encoder, vision))
    sources |= under("bridge", layer_sources(bridge, _BRIDGE))
    sources |= under("decoder", _text_sources(model.decoder))
    fill(model, sources, read_tensors(directory, ["git.", "image_encoder."]), _BESIDE)
    return model


def _vision(published: Mapping[str, Any]) -> dict[str, Any]:
    given = published.get("vision_config") or {}
    return {**given, "model_type": "clip_vision_model"}


def _text_sources(decoder: TextDecoder) -> dict[str, Source]:
    names = bert_layers(decoder.config) | {"head.words": "output"}
    return layer_sources(decoder, names)
