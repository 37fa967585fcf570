"""Published checkpoints of a ViT and a GPT-2 that write captions together.

`transformers` calls the kind vision-encoder-decoder; the encoder and the decoder are
published models, and each layer of GPT-2 looks at the picture by a new attention.
"""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from clipseed.errors import InputError
from models.backbones.text_decoder.gpt2 import BESIDE as GPT2_BESIDE
from models.backbones.text_decoder.gpt2 import gpt2_config, gpt2_sources
from models.backbones.text_decoder.model import TextDecoder
from models.backbones.vit.model import ViT
from models.backbones.vit.weights import BESIDE as VIT_BESIDE
from models.backbones.vit.weights import vit_config, vit_sources
from models.captioning.generation.config import GenerationConfig, generation_config
from models.captioning.image_to_text import Bridge, ImageToText
from models.nn.attention import Compute
from models.pretrained.checkpoint import read_tensors
from models.pretrained.load_weights import fill, layer_sources, under

_PREFIXES = ("decoder.transformer.", "encoder.")


def vision_encoder_decoder_generation(
    published: Mapping[str, Any], settings: Mapping[str, Any]
) -> GenerationConfig:
    """Return how such a model writes.

    Raises:
        InputError: `bad_checkpoint`.
    """
    decoder = published.get("decoder") or {}
    own = {name: value for name, value in published.items() if value is not None}
    given = {name: value for name, value in settings.items() if value is not None}
    joined = {**decoder, **own, **given}
    joined.setdefault("decoder_start_token_id", joined.get("bos_token_id"))
    return generation_config(joined, start="decoder_start_token_id")


def load_vision_encoder_decoder(
    directory: str, published: Mapping[str, Any]
) -> ImageToText:
    """Load a published ViT with a GPT-2.

    Args:
        directory: local or `gs://`, with safetensors.
        published: its `config.json`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `bad_model_config`,
            `checkpoint_mismatch`.
    """
    parts = (_part(published, "encoder", "vit"), _part(published, "decoder", "gpt2"))
    vision = vit_config(parts[0])
    text = gpt2_config({**parts[1], "add_cross_attention": True})
    rngs = nnx.Rngs(0)
    bridge = None
    if vision.hidden != text.hidden:
        bridge = Bridge(vision.hidden, text.hidden, None, rngs, Compute())
    model = ImageToText(ViT(vision, rngs), TextDecoder(text, rngs), bridge)
    sources = under("encoder", vit_sources(model.encoder, vision))
    sources |= under("decoder", gpt2_sources(model.decoder))
    if bridge is not None:
        names = {"linear": "enc_to_dec_proj"}
        sources |= under("bridge", layer_sources(bridge, names))
    fill(model, sources, read_tensors(directory, _PREFIXES), _BESIDE)
    return model


_BESIDE = (*VIT_BESIDE, *GPT2_BESIDE)


def _part(published: Mapping[str, Any], name: str, model_type: str) -> dict[str, Any]:
    part = published.get(name) or {}
    if part.get("model_type") != model_type:
        raise InputError(
            "bad_checkpoint",
            f"the {name} is of type {part.get('model_type')!r}: give a checkpoint of a "
            "vit encoder and a gpt2 decoder",
        )
    return part
