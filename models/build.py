"""A model and its tokeniser, from a training configuration."""

from collections.abc import Iterable

import jax.numpy as jnp
from flax import nnx

from models.attention import Compute
from models.bert import fill_bert
from models.dual_encoder import DualEncoder
from models.train_config import TrainConfig
from models.vit_weights import fill_vit
from models.wordpiece import WordPiece, build_vocabulary, read_vocabulary
from transforms.elements import Reject


def make_tokenizer(config: TrainConfig, captions: Iterable[str]) -> list[str]:
    """The vocabulary of a run: the one named, or one made of the captions.

    Raises:
        Reject: `bad_vocabulary` if the text encoder has no embedding for some ids.
    """
    most = config.model.text.vocabulary
    if not config.vocabulary:
        return build_vocabulary(captions, most)
    words = read_vocabulary(config.vocabulary)
    if len(words) > most:
        raise Reject(
            "bad_vocabulary",
            f"{config.vocabulary} has {len(words)} words, the text encoder {most}: set "
            f"model.text.vocabulary={len(words)}",
        )
    return words


def make_model(config: TrainConfig) -> DualEncoder:
    """The model, with pretrained parameters where the configuration names them.

    Raises:
        Reject: a checkpoint does not fit, see `models.pretrained.fill`.
    """
    compute = Compute(
        dtype=jnp.bfloat16 if config.dtype == "bfloat16" else jnp.float32,
        remat=config.remat,
    )
    model = DualEncoder(config.model, nnx.Rngs(config.seed), compute)
    if config.vision:
        for stream in model.clips.streams.values():
            fill_vit(stream, config.vision, config.allow)
    if config.text:
        fill_bert(model.text, config.text, config.allow)
    return model


def tokenizer_of(vocabulary: list[str]) -> WordPiece:
    """The tokeniser of a vocabulary."""
    return WordPiece(vocabulary)
