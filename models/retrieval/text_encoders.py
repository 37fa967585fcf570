"""The encoders of captions that the dual encoder can have, by their published family.

    family = text_family("bert")
    config = family.read(read_config(directory, TEXT_TYPES))
    family.fill(text_encoder(config, rngs, compute), directory, ())

To add a family: its encoder has a method `represent`, and gets a line in `_FAMILIES`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
from flax import nnx

from clipseed.errors import InputError
from models.backbones.bert.model import Bert, BertConfig, bert_config, fill_bert
from models.backbones.clip.model import ClipTextConfig, ClipTextTower
from models.backbones.clip.weights import clip_text_config, fill_clip_text
from models.nn.attention import Compute
from models.pretrained.adopt import adopt
from models.tokenizers.byte_pairs import clip_bpe, read_merges
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.wordpiece import read_vocabulary, word_piece

TextConfig = BertConfig | ClipTextConfig


class TextEncoder(Protocol):
    """What encodes captions."""

    def represent(self, ids: jax.Array, mask: jax.Array) -> jax.Array:
        """Return one vector for each text.

        Args:
            ids: int [b, n], token ids.
            mask: bool [b, n], False where a text has ended.

        Returns:
            [b, hidden].
        """
        ...


class TextFamily(NamedTuple):
    """A family of published text encoders.

    Attributes:
        name: for messages.
        config: the class of its configurations.
        build: makes the encoder of a configuration.
        read: makes the configuration of a published one.
        fill: sets the encoder's parameters to those of a checkpoint's directory.
        tokenizer: reads a vocabulary that the user names.
    """

    name: str
    config: type[TextConfig]
    build: Callable[[Any, nnx.Rngs, Compute], Any]
    read: Callable[[Mapping[str, Any]], TextConfig]
    fill: Callable[..., None]
    tokenizer: Callable[[str], CaptionTokenizer]


_BERT = TextFamily(
    "BERT",
    BertConfig,
    Bert,
    bert_config,
    fill_bert,
    lambda uri: word_piece(read_vocabulary(uri)),
)
_CLIP = TextFamily(
    "CLIP",
    ClipTextConfig,
    lambda config, rngs, compute: ClipTextTower(config, None, rngs, compute),
    clip_text_config,
    fill_clip_text,
    lambda uri: clip_bpe(read_merges(uri)),
)
# By the `model_type` of a checkpoint.
_FAMILIES = {"bert": _BERT, "clip": _CLIP, "clip_text_model": _CLIP}
TEXT_TYPES = tuple(_FAMILIES)


def text_family(kind: str | TextConfig) -> TextFamily:
    """Return the family of a published `model_type`, or of a configuration."""
    if isinstance(kind, str):
        return _FAMILIES[kind]
    return next(each for each in _FAMILIES.values() if type(kind) is each.config)


def text_encoder(config: TextConfig, rngs: nnx.Rngs, compute: Compute) -> Any:
    """Return a `TextEncoder` (an `nnx.Module`) of random parameters."""
    return text_family(config).build(config, rngs, compute)


def adopt_text(given: TextConfig, published: Mapping[str, Any]) -> TextConfig:
    """Return the settings of the text encoder that a checkpoint brings.

    Args:
        given: as the user set them.
        published: the checkpoint's `config.json`.

    Raises:
        InputError: `bad_config` where they contradict each other.
    """
    family = text_family(published["model_type"])
    theirs = family.read(published)
    if type(given) is type(theirs):
        return adopt("task.model.text", given, theirs, family.config())
    if given != BertConfig():  # Where nobody set anything.
        raise InputError(
            "bad_config",
            f"task.model.text is set for a {text_family(given).name}, but the "
            f"checkpoint is a {family.name}: leave it out",
        )
    return theirs


def check_tokenizer(
    tokenizer: CaptionTokenizer, config: TextConfig, source: str, setting: str
) -> None:
    """Check that an encoder can take what a tokenizer makes.

    Args:
        tokenizer: of the captions.
        config: of the encoder.
        source: of the vocabulary, for messages.
        setting: of the encoder's configuration, for messages.

    Raises:
        InputError: `bad_vocabulary` if ids have no embedding, or a CLIP would not know
            where a text ends.
    """
    wanted = {"vocabulary": tokenizer.size}
    fits = tokenizer.size <= config.vocabulary
    if isinstance(config, ClipTextConfig):
        wanted["end_id"] = tokenizer.end_id
        fits = tokenizer.size == config.vocabulary
        fits = fits and tokenizer.end_id == config.end_id
    if not fits:
        needed = " and ".join(f"{setting}.{name}={n}" for name, n in wanted.items())
        raise InputError(
            "bad_vocabulary",
            f"{source} has {tokenizer.size} tokens, of which {tokenizer.end_id} ends a "
            f"text; the text encoder is made for another vocabulary: set {needed}, or "
            "name the vocabulary that it was trained with by task.vocabulary=FILE",
        )
