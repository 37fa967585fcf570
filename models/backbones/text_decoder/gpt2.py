"""Published checkpoints of GPT-2 into `TextDecoder`.

Radford et al., "Language Models are Unsupervised Multitask Learners". Alone, or with
attention to a context in every layer, as captioners have it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
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
from models.pretrained.load_weights import (
    Source,
    fill,
    joined_sources,
    layer_names,
    layer_sources,
)

PREFIX = "transformer."
# Causal masks, which old files keep, and the words' embeddings once more.
BESIDE = (r"h\.\d+\.(cross)?attn\.(masked_)?bias", r"(decoder\.)?lm_head\.weight")

_FIELDS = {
    "hidden": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "activation": "activation_function",
    "norm_epsilon": "layer_norm_epsilon",
    "vocabulary": "vocab_size",
    "max_tokens": "n_positions",
}
_OUTSIDE_LAYERS = {"words": "wte", "positions": "wpe", "norm": "ln_f"}
_LAYERS = {
    "attention.output": "attn.c_proj",
    "attention_norm": "ln_1",
    "cross.query": "crossattention.q_attn",
    "cross.output": "crossattention.c_proj",
    "cross_norm": "ln_cross_attn",
    "mlp.expand": "mlp.c_fc",
    "mlp.contract": "mlp.c_proj",
    "mlp_norm": "ln_2",
}


def gpt2_config(published: Mapping[str, Any]) -> TextDecoderConfig:
    """Read the published configuration of a GPT-2.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    if (
        published.get("scale_attn_by_inverse_layer_idx", False)
        or not published.get("scale_attn_weights", True)
        or not published.get("tie_word_embeddings", True)
    ):
        raise InputError(
            "bad_checkpoint",
            "attention scaled by its layer or not at all, or a head that does not "
            "share the words' embeddings, is not supported: use a GPT-2 as published",
        )
    fields = published_fields(published, _FIELDS, TextDecoderConfig())
    mlp = 4 * fields["hidden"]
    if published.get("n_inner") is not None:
        mlp = published_value(published, "n_inner", mlp)
    crosses = published_value(published, "add_cross_attention", False)
    return TextDecoderConfig(
        **fields,
        mlp=mlp,
        context="cross" if crosses else "none",
        context_width=fields["hidden"],
    )


def load_gpt2(
    directory: str, compute: Compute | None = None, allow: Sequence[str] = ()
) -> TextDecoder:
    """Load a published GPT-2.

    Args:
        directory: local or `gs://`, with `config.json` and safetensors.
        compute: precision and cost.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    config = gpt2_config(read_config(directory, ["gpt2"]))
    decoder = TextDecoder(config, nnx.Rngs(0), compute)
    tensors = read_tensors(directory, [PREFIX])
    fill(decoder, gpt2_sources(decoder), tensors, (*BESIDE, *allow))
    return decoder


def gpt2_sources(decoder: TextDecoder) -> dict[str, Source]:
    """Return the source of each parameter, by names without `PREFIX`."""
    layers = decoder.config.layers
    names = _OUTSIDE_LAYERS | layer_names(layers, "h", _LAYERS)
    sources = layer_sources(decoder, names)
    for path, source in sources.items():
        if path.endswith(".kernel"):  # [in, out], where other models have [out, in]
            sources[path] = source._replace(convert=np.asarray)
    joined: dict[str, tuple[str, tuple[str, ...]]]
    joined = {"attention": ("attn", ("query", "key", "value"))}
    if decoder.config.context == "cross":
        joined["cross"] = ("crossattention", ("key", "value"))
    for i in range(layers):
        for ours, (theirs, parts) in joined.items():
            paths = [f"blocks.{i}.{ours}.{part}" for part in parts]
            stem = f"h.{i}.{theirs}.c_attn"
            sources |= joined_sources(paths, f"{stem}.weight", f"{stem}.bias", inner=0)
    return sources
