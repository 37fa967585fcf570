"""A published BLIP, GIT or ViT-GPT2 as a captioner, in JAX.

Runs on whatever JAX finds. Matrix products are computed in float32 proper and every
batch has one shape, so that the same picture at the same place of a batch gets the same
caption in every run on one kind of machine.

To add a family: write its loader beside this file, give it a line in `_FAMILIES`, and
its published preprocessing in `models.pretrained.preprocessing`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from clipseed.errors import InputError
from models.captioning.base import (
    CaptioningError,
    Search,
    WrittenCaption,
    refuse_other_vocabulary,
)
from models.captioning.generation.config import GenerationConfig, read_generation
from models.captioning.generation.next_token import Generated
from models.captioning.image_to_text import ImageToText, write_about
from models.captioning.published.blip import blip_generation, load_blip
from models.captioning.published.git import git_generation, load_git
from models.captioning.published.vision_encoder_decoder import (
    load_vision_encoder_decoder,
    vision_encoder_decoder_generation,
)
from models.pretrained.checkpoint import read_config
from models.pretrained.model_id import fingerprint, model_id
from models.pretrained.preprocessing import Preprocessing, normalize, read_preprocessing
from models.pretrained.source import open_checkpoint
from models.tokenizers.published import read_tokenizer

# Pictures in a batch: what fills an accelerator, or does not waste a CPU's time when
# the last batch is padded.
_BATCH, _CPU_BATCH = 64, 8
# Part of every id: to be raised when the same checkpoint comes to write otherwise.
_METHOD = b"image-to-text-1"


class _Family(NamedTuple):
    load: Callable[[str, Mapping[str, Any]], ImageToText]
    generation: Callable[[Mapping[str, Any], Mapping[str, Any]], GenerationConfig]


# By `model_type`.
_FAMILIES = {
    "blip": _Family(load_blip, blip_generation),
    "git": _Family(load_git, git_generation),
    "vision-encoder-decoder": _Family(
        load_vision_encoder_decoder, vision_encoder_decoder_generation
    ),
}


class Loaded(NamedTuple):
    """A checkpoint, tokenizer aside.

    Attributes:
        published: its `config.json`.
        model: the encoder and decoder.
        generation: how it writes.
        preprocessing: what its pictures go through.
    """

    published: dict[str, Any]
    model: ImageToText
    generation: GenerationConfig
    preprocessing: Preprocessing


def load_image_to_text(directory: str) -> Loaded:
    """Load a published captioner of any family.

    Args:
        directory: local or `gs://`.

    Raises:
        InputError: `not_found`, `unreadable`, `bad_checkpoint`, `bad_model_config`,
            `checkpoint_mismatch`.
    """
    published = read_config(directory, list(_FAMILIES))
    family = _FAMILIES[published["model_type"]]
    generation = family.generation(published, read_generation(directory))
    model = family.load(directory, published)
    height, width = model.encoder.config.input_size
    model_type = published["model_type"]
    preprocessing = read_preprocessing(directory, model_type, height)
    if {height, width} != {preprocessing.resizing.size_px}:
        raise InputError(
            "bad_checkpoint",
            f"the model takes {height} x {width} pixels, its preprocessing makes "
            f"{preprocessing.resizing.size_px} x {preprocessing.resizing.size_px}",
        )
    return Loaded(published, model, generation, preprocessing)


class PublishedCaptioner:
    """Load a checkpoint by the name of a model, see `models.pretrained.source`.

    Attributes:
        captioner_id: `TYPE@HASH`, or `hf:ID@COMMIT+HASH`; the hash is taken over what
            the captions depend on.
        resizing: of pictures.
        max_tokens: of a caption; the prompt is one token, and the last is not read.

    Raises:
        ValueError: the checkpoint cannot be loaded, or is not a captioner.
    """

    def __init__(self, name: str) -> None:
        try:
            checkpoint = open_checkpoint(name)
            loaded = load_image_to_text(checkpoint.directory)
            tokenizer = read_tokenizer(checkpoint.directory)
            ends = loaded.generation.end_ids
            refuse_other_vocabulary(
                tokenizer.size,
                loaded.model.decoder.config.vocabulary,
                all(tokenizer.ends(token) for token in ends),
            )
        except InputError as error:
            raise ValueError(
                f"cannot load the captioner {name!r}: {error.message}. It must be a "
                "BLIP, GIT or ViT-GPT2 with config.json, safetensors and tokenizer"
            ) from error
        generation = dataclasses.asdict(loaded.generation)
        settings = [loaded.published, loaded.preprocessing, generation]
        digest = fingerprint(_METHOD, [*settings, tokenizer.to_json()], loaded.model)
        self.captioner_id = model_id(checkpoint, loaded.published["model_type"], digest)
        self.resizing = loaded.preprocessing.resizing
        self.max_tokens = loaded.model.decoder.config.max_tokens
        self._tokenizer = tokenizer
        self._loaded = loaded
        self._graph, self._state = nnx.split(loaded.model)
        self._compiled: dict[Search, Callable[..., Generated]] = {}
        self._size = _CPU_BATCH if jax.default_backend() == "cpu" else _BATCH

    def caption(self, images: np.ndarray, search: Search) -> list[WrittenCaption]:
        """Caption uint8 [n, s, s, 3], in padded batches.

        Raises:
            CaptioningError: the device failed, for want of memory for example.
            InputError: `bad_model_config`, `bad_generation_config`.
        """
        if search not in self._compiled:
            self._compiled[search] = self._compile(search)
        captions: list[WrittenCaption] = []
        for first in range(0, len(images), self._size):
            captions += self._batch(images[first : first + self._size], search)
        return captions

    def _batch(self, images: np.ndarray, search: Search) -> list[WrittenCaption]:
        batch = np.zeros((self._size, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        try:
            found = self._compiled[search](self._state, batch)
            rows = jax.device_get(found)
        except jax.errors.JaxRuntimeError as error:
            raise CaptioningError(str(error)) from error
        return [self._written(rows, number) for number in range(len(images))]

    def _written(self, found: Generated, number: int) -> WrittenCaption:
        """Return one caption; the prompt is one token."""
        if not found.finite[number]:
            return WrittenCaption("", float("-inf"), "bad_logits")
        count, ended = int(found.tokens[number]), bool(found.ended[number])
        ids = found.ids[number, 1 : 1 + count - ended]
        text = self._tokenizer.decode(ids.tolist())
        score = float(found.log_likelihood[number]) / count
        if not ended:
            return WrittenCaption(text, score, "endless_caption")
        return WrittenCaption(text, score, "" if text else "empty_caption")

    def _compile(self, search: Search) -> Callable[..., Generated]:
        config = dataclasses.replace(
            self._loaded.generation, beams=search.beams, max_tokens=search.max_tokens
        )
        scale, graph = self._loaded.preprocessing.scale, self._graph

        def run(state: Any, images: jax.Array) -> Generated:
            with jax.default_matmul_precision("float32"):
                return write_about(
                    nnx.merge(graph, state), normalize(images, scale), config
                )

        # XLA for GPUs else picks its kernels by timing them, again in every process.
        options = {"xla_gpu_deterministic_ops": True}
        on_gpu = jax.default_backend() == "gpu"
        return jax.jit(run, compiler_options=options if on_gpu else None)
