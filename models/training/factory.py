"""A model and its tokenizer, from a training configuration."""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp
from flax import nnx

from clipseed.errors import InputError
from clipseed.io import storage
from models.backbones.bert.model import fill_bert
from models.backbones.clip.model import Clip
from models.backbones.clip.weights import load_clip
from models.backbones.vit.weights import fill_vit
from models.nn.attention import Compute
from models.pretrained.preprocessing import CLIP_SCALE, read_preprocessing
from models.retrieval.clip4clip import Clip4Clip, Clip4ClipConfig
from models.retrieval.dual_encoder import DualEncoder
from models.tokenizers.byte_pairs import clip_bpe, read_merges
from models.tokenizers.caption_tokenizer import CaptionTokenizer
from models.tokenizers.wordpiece import learn_vocabulary, read_vocabulary, word_piece
from models.training.config import TrainConfig


def make_tokenizer(config: TrainConfig, captions: Iterable[str]) -> CaptionTokenizer:
    """Return the tokenizer of a run: of the vocabulary named, or of one learned.

    Raises:
        InputError: `bad_vocabulary` if the text encoder has no embedding for some ids.
    """
    if isinstance(config.model, Clip4ClipConfig):
        return _clip_tokenizer(config, config.model)
    most = config.model.text.vocabulary
    if not config.vocabulary:
        return word_piece(learn_vocabulary(captions, most))
    words = read_vocabulary(config.vocabulary)
    if len(words) > most:
        raise InputError(
            "bad_vocabulary",
            f"{config.vocabulary} has {len(words)} words, the text encoder {most}: set "
            f"model.text.vocabulary={len(words)}",
        )
    return word_piece(words)


def _clip_tokenizer(config: TrainConfig, model: Clip4ClipConfig) -> CaptionTokenizer:
    """Return CLIP's tokenizer, its merges from a file or beside the checkpoint."""
    uri = config.vocabulary
    if config.clip and not uri:
        uri = storage.join(config.clip, "merges.txt")
    tokenizer = clip_bpe(read_merges(uri) if uri else [])
    size, end_id = tokenizer.size, tokenizer.end_id
    if (end_id, size) != (model.clip.text.end_id, model.clip.text.vocabulary):
        raise InputError(
            "bad_vocabulary",
            f"{uri or 'the vocabulary of bytes'} has {size} tokens, the last of which "
            "ends a text; the text tower is made for another: set "
            f"model.clip.text.vocabulary={size} model.clip.text.end_id={end_id}, "
            "or name CLIP's merges by vocabulary=FILE",
        )
    return tokenizer


def make_model(config: TrainConfig) -> DualEncoder | Clip4Clip:
    """The model, with pretrained parameters where the configuration names them.

    Raises:
        InputError: a checkpoint does not fit, see
            `models.pretrained.load_weights.fill`; `bad_config` for one of another kind
            of model.
    """
    compute = Compute(
        dtype=jnp.bfloat16 if config.dtype == "bfloat16" else jnp.float32,
        remat=config.remat,
    )
    if isinstance(config.model, Clip4ClipConfig):
        _refuse(config, "CLIP4Clip", ("vision", "text"))
        return Clip4Clip(_clip(config, config.model, compute))
    _refuse(config, "the dual encoder", ("clip",))
    model = DualEncoder(config.model, nnx.Rngs(config.seed), compute)
    if config.vision:
        for stream in model.clips.streams.values():
            fill_vit(stream, config.vision, config.allow)
    if config.text:
        fill_bert(model.text, config.text, config.allow)
    return model


def _clip(config: TrainConfig, model: Clip4ClipConfig, compute: Compute) -> Clip:
    if not config.clip:
        return Clip(model.clip, nnx.Rngs(config.seed), compute)
    if read_preprocessing(config.clip, "clip", model.frame_px).scale != CLIP_SCALE:
        raise InputError(
            "bad_checkpoint",
            f"{config.clip} was trained on pixels of another scale than CLIP's; give "
            "another checkpoint",
        )
    return load_clip(config.clip, model.clip, compute, config.allow)


def _refuse(config: TrainConfig, model: str, fields: Sequence[str]) -> None:
    for field in fields:
        if getattr(config, field):
            raise InputError(
                "bad_config", f"{model} starts from no {field!r}: leave it out"
            )
