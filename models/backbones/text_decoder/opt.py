"""Published checkpoints of OPT into `TextDecoder`.

Zhang et al., "OPT: Open Pre-trained Transformer Language Models".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import nnx

from clipseed.errors import InputError
from models.backbones.text_decoder.model import TextDecoder, TextDecoderConfig
from models.nn.attention import Compute
from models.pretrained.checkpoint import (
    published_fields,
    published_value,
    read_config,
    read_tensors,
)
from models.pretrained.load_weights import Source, fill, layer_names, layer_sources

# So many rows of the table of positions come before the first.
_POSITION_OFFSET = 2
_BESIDE = (r"lm_head\.weight",)  # the words' embeddings once more
_FIELDS = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp": "ffn_dim",
    "activation": "activation_function",
    "vocabulary": "vocab_size",
    "max_tokens": "max_position_embeddings",
}
_DEFAULT = TextDecoderConfig(activation="relu", vocabulary=50272, max_tokens=2048)
_OUTSIDE_LAYERS = {
    "words": "embed_tokens",
    "positions": "embed_positions",
    "widen": "project_in",
    "narrow": "project_out",
    "norm": "final_layer_norm",
}
_LAYERS = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "mlp.expand": "fc1",
    "mlp.contract": "fc2",
    "mlp_norm": "final_layer_norm",
}


def opt_config(published: Mapping[str, Any]) -> TextDecoderConfig:
    """Read the published configuration of an OPT.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    needed = ("enable_bias", "layer_norm_elementwise_affine", "tie_word_embeddings")
    missing = [name for name in needed if not published.get(name, True)]
    if missing:
        raise InputError(
            "bad_checkpoint",
            f"an OPT with {missing[0]} false is not supported: use one as published",
        )
    fields = published_fields(published, _FIELDS, _DEFAULT)
    width = published_value(published, "word_embed_proj_dim", fields["hidden"])
    pre_norm = published_value(published, "do_layer_norm_before", True)
    no_norm = published_value(published, "_remove_final_layer_norm", False)
    return TextDecoderConfig(
        **fields,
        position_offset=_POSITION_OFFSET,
        word_width=None if width == fields["hidden"] else width,
        post_norm=not pre_norm,
        final_norm=pre_norm and not no_norm,
    )


def load_opt(
    directory: str, compute: Compute | None = None, allow: Sequence[str] = ()
) -> TextDecoder:
    """Load a published OPT.

    Args:
        directory: local or `gs://`, with `config.json` and safetensors.
        compute: precision and cost.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    config = opt_config(read_config(directory, ["opt"]))
    decoder = TextDecoder(config, nnx.Rngs(0), compute)
    tensors = read_tensors(directory, ["model.", "decoder."])
    fill(decoder, _sources(decoder), tensors, (*_BESIDE, *allow))
    return decoder


def _sources(decoder: TextDecoder) -> dict[str, Source]:
    names = _OUTSIDE_LAYERS | layer_names(decoder.config.layers, "layers", _LAYERS)
    return layer_sources(decoder, names)
