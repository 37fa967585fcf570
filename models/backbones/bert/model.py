"""BERT, the text encoder, and its published checkpoints.

    bert = load_bert("checkpoints/bert-base-uncased")
    cls = bert(ids, mask)[:, 0]  # int32, bool [b, n] -> [b, 768]

Devlin et al., "BERT"; layer norm after each residual sum. Of the published model only
the encoder is kept: the caption's vector is the CLS token of the last layer.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from clipseed.errors import InputError
from models.nn.attention import Compute
from models.nn.transformer import BlockConfig, layer_norm, stack
from models.pretrained.checkpoint import (
    BLOCK_FIELDS,
    published_fields,
    read_config,
    read_tensors,
)
from models.pretrained.load_weights import fill, layer_names, layer_sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertConfig(BlockConfig):
    """A BERT; the defaults are BERT-Base's, uncased.

    Attributes:
        vocabulary: number of token ids.
        max_tokens: longest text.
        types: kinds of segments in a checkpoint; captions are all of the first.
    """

    vocabulary: int = 30522
    max_tokens: int = 512
    types: int = 2


class Bert(nnx.Module):
    """The encoder of BERT.

    Attributes:
        config: its sizes.
        blocks: its layers.
    """

    def __init__(
        self, config: BertConfig, rngs: nnx.Rngs, compute: Compute | None = None
    ) -> None:
        compute = compute or Compute()
        self.config = config

        def embed(rows: int) -> nnx.Embed:
            normal = nnx.initializers.normal(0.02)
            return nnx.Embed(
                rows,
                config.hidden,
                dtype=compute.dtype,
                embedding_init=normal,
                rngs=rngs,
            )

        self.words = embed(config.vocabulary)
        self.positions = embed(config.max_tokens)
        self.types = embed(config.types)
        self.embedding_norm = layer_norm(config, compute, rngs)
        self.blocks = stack(config, post_norm=True, compute=compute, rngs=rngs)

    def __call__(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Encode texts.

        Args:
            ids: int [b, n] token ids, at most `config.max_tokens` of them.
            mask: bool [b, n], False where a text has ended.

        Returns:
            [b, n, hidden]; what follows the end of a text means nothing.

        Raises:
            InputError: `bad_model_config` if n is too large.
        """
        length = ids.shape[1]
        check_length(length, self.config.max_tokens)
        tokens = self.words(ids) + self.positions(jnp.arange(length))
        tokens = self.embedding_norm(tokens + self.types(jnp.zeros_like(ids)))
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens

    def represent(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Return each text's CLS token; see `models.retrieval.text_encoders`."""
        return self(ids, mask)[:, 0]


def check_length(length: int, most: int) -> None:
    """Check that there is a position for every token of a text.

    Raises:
        InputError: `bad_model_config`; the gather would take the last position instead.
    """
    if length > most:
        raise InputError(
            "bad_model_config",
            f"texts of {length} tokens do not fit a model for {most}: crop them when "
            "they are tokenized",
        )


# --- published checkpoints -----------------------------------------------------------

# What published BERTs carry beside the encoder.
_BESIDE = (
    r"pooler\..*",
    r"(cls|classifier|qa_outputs)\..*",
    r"embeddings\.position_ids",
)
_FIELDS = {
    **BLOCK_FIELDS,
    "vocabulary": "vocab_size",
    "max_tokens": "max_position_embeddings",
    "types": "type_vocab_size",
}
_OUTSIDE_LAYERS = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
}
_LAYERS = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.expand": "intermediate.dense",
    "mlp.contract": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def bert_config(published: Mapping[str, Any]) -> BertConfig:
    """Read the published configuration of a BERT.

    Raises:
        InputError: `bad_checkpoint`, `bad_model_config`.
    """
    kind = published.get("position_embedding_type") or "absolute"
    decoder = published.get("is_decoder") or published.get("add_cross_attention")
    if kind != "absolute" or decoder:
        raise InputError(
            "bad_checkpoint",
            f"a decoder, or positions of kind {kind!r}, is not supported: give an "
            "encoder with absolute positions",
        )
    return BertConfig(**published_fields(published, _FIELDS, BertConfig()))


def load_bert(
    directory: str, compute: Compute | None = None, allow: Sequence[str] = ()
) -> Bert:
    """Load a published BERT.

    Args:
        directory: local or `gs://`, with `config.json` and `model.safetensors`.
        compute: precision and cost.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: see `fill_bert`.
    """
    config = bert_config(read_config(directory, ["bert"]))
    bert = Bert(config, nnx.Rngs(0), compute)
    fill_bert(bert, directory, allow)
    return bert


def fill_bert(bert: Bert, directory: str, allow: Sequence[str] = ()) -> None:
    """Set the parameters of a BERT, such as the text tower of a larger model.

    Args:
        bert: changed in place.
        directory: local or `gs://`, with `config.json` and `model.safetensors`.
        allow: patterns of what may be missing or unused, see `pretrained.fill`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `checkpoint_mismatch`.
    """
    read_config(directory, ["bert"])
    tensors = read_tensors(directory, ["bert."])
    names = _OUTSIDE_LAYERS | layer_names(bert.config.layers, "encoder.layer", _LAYERS)
    fill(bert, layer_sources(bert, names), _modern(tensors), (*_BESIDE, *allow))


def _modern(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename the layer norms of checkpoints that came from TensorFlow."""
    return {
        name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
            "LayerNorm.beta", "LayerNorm.bias"
        ): array
        for name, array in tensors.items()
    }
