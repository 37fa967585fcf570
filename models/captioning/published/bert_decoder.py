"""What BLIP's and GIT's decoders have from BERT: sizes and names."""

from models.backbones.text_decoder.model import TextDecoderConfig
from models.pretrained.checkpoint import BLOCK_FIELDS
from models.pretrained.load_weights import layer_names

BERT_FIELDS = {
    **BLOCK_FIELDS,
    "vocabulary": "vocab_size",
    "max_tokens": "max_position_embeddings",
}
_EMBEDDINGS = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
}
_LAYERS = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "cross.query": "crossattention.self.query",
    "cross.key": "crossattention.self.key",
    "cross.value": "crossattention.self.value",
    "cross.output": "crossattention.output.dense",
    "cross_norm": "crossattention.output.LayerNorm",
    "mlp.expand": "intermediate.dense",
    "mlp.contract": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def bert_layers(config: TextDecoderConfig) -> dict[str, str]:
    """Return the published name of each layer, head aside, by ours."""
    return _EMBEDDINGS | layer_names(config.layers, "encoder.layer", _LAYERS)
