"""The image tower of a published ViT or CLIP as an embedder, in JAX.

Runs on whatever JAX finds: CPU, GPU or TPU. Matrix products are computed in float32
proper and every batch has one shape, so that the same picture at the same place of a
batch has the same embedding in every run on one kind of machine, and nearly the same on
another.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from clipseed.errors import InputError
from models.backbones.clip.weights import load_clip_image_tower
from models.backbones.vit.model import ViTConfig
from models.backbones.vit.weights import load_vit
from models.embedders.base import PAPER_THRESHOLD, EmbeddingError
from models.pretrained.checkpoint import read_config
from models.pretrained.load_weights import parameters
from models.pretrained.preprocessing import (
    CLIP_SCALE,
    SYMMETRIC_SCALE,
    PixelScale,
    normalize,
    read_scale,
)

# Pictures in a batch: what fills an accelerator, or does not waste a CPU's time when
# the last batch is padded.
_BATCH, _CPU_BATCH = 64, 8
# Part of every id: to be raised when the same checkpoint comes to embed otherwise.
_METHOD = b"jax-1"


class JaxEmbedder:
    """Loads a checkpoint from a directory, local or `gs://`.

    A ViT gives the CLS token of its last layer, a CLIP the projected one.

    Attributes:
        embedder_id: `jax:TYPE@HASH`, the hash taken over what the embeddings depend on:
            parameters, configuration and the scale of pixels.

    Raises:
        ValueError: the checkpoint cannot be loaded or does not take square pictures.
    """

    default_threshold = PAPER_THRESHOLD

    def __init__(self, directory: str) -> None:
        try:
            published = read_config(directory, ["vit", "clip", "clip_vision_model"])
            kind = published["model_type"]
            tower, config = _load_tower(directory, kind)
            default = SYMMETRIC_SCALE if kind == "vit" else CLIP_SCALE
            scale = read_scale(directory, default)
        except InputError as reject:
            raise ValueError(
                f"cannot load the embedder: {reject.message}. It must be a directory "
                "with the config.json and model.safetensors of a ViT or a CLIP"
            ) from reject
        height, width = config.input_size
        if height != width or config.channels != 3:
            raise ValueError(
                f"the embedder takes {height} x {width} pixels of {config.channels} "
                "channels: give one that takes square RGB pictures"
            )
        self.image_size_px = height
        self.embedder_id = f"jax:{kind}@{_hash(published, scale, tower)}"
        self._run = _jitted(tower, scale)
        self._size = _CPU_BATCH if jax.default_backend() == "cpu" else _BATCH
        blank = np.zeros((self._size, height, width, 3), np.uint8)
        self.dimension = int(jax.eval_shape(self._run, blank).shape[1])

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embeds uint8 [n, s, s, 3] as float32 [n, d], in padded batches.

        Raises:
            EmbeddingError: the device failed, for want of memory for example.
        """
        parts = [
            self._batch(images[first : first + self._size])
            for first in range(0, len(images), self._size)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), "f4")

    def _batch(self, images: np.ndarray) -> np.ndarray:
        batch = np.zeros((self._size, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        try:
            return np.asarray(self._run(batch))[: len(images)]
        except jax.errors.JaxRuntimeError as error:
            raise EmbeddingError(str(error)) from error


def _load_tower(directory: str, kind: str) -> tuple[nnx.Module, ViTConfig]:
    if kind == "vit":
        vit = load_vit(directory)
        return vit, vit.config
    tower = load_clip_image_tower(directory)
    return tower, tower.vit.config


def _jitted(tower: nnx.Module, scale: PixelScale) -> Callable[[np.ndarray], jax.Array]:
    graph, state = nnx.split(tower)
    # XLA for GPUs else picks its kernels by timing them, anew in every process.
    options = {"xla_gpu_deterministic_ops": True}
    on_gpu = jax.default_backend() == "gpu"

    def embed(state: Any, images: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("float32"):
            output = nnx.merge(graph, state)(normalize(images, scale))
        return output[:, 0] if output.ndim == 3 else output  # CLS of a ViT's tokens

    compiled = jax.jit(embed, compiler_options=options if on_gpu else None)
    return lambda images: compiled(state, images)


def _hash(published: dict[str, Any], scale: PixelScale, tower: nnx.Module) -> str:
    """Names a model by what its embeddings depend on, wherever it lies."""
    digest = hashlib.sha256(_METHOD)
    digest.update(json.dumps([published, scale], sort_keys=True).encode())
    for path, parameter in sorted(parameters(tower).items()):
        array = np.asarray(parameter[...])
        digest.update(f"{path} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]
