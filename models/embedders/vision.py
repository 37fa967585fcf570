"""The image tower of a published ViT, CLIP, SigLIP or DINOv2 as an embedder, in JAX.

Runs on whatever JAX finds: CPU, GPU or TPU. Matrix products are computed in float32
proper and every batch has one shape, so that the same picture at the same place of a
batch has the same embedding in every run on one kind of machine, and nearly the same on
another.

To add a family: write its backbone with a loader in `models/backbones`, and give it a
line in `_FAMILIES`, and its published preprocessing in
`models.pretrained.preprocessing`.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from clipseed.errors import InputError
from models.backbones.clip.weights import load_clip_image_tower
from models.backbones.dinov2.weights import load_dinov2
from models.backbones.siglip.image_tower import load_siglip_image_tower
from models.backbones.vit.model import ViTConfig
from models.backbones.vit.weights import load_vit
from models.embedders.base import EmbeddingError
from models.pretrained.checkpoint import read_config
from models.pretrained.model_id import fingerprint, model_id
from models.pretrained.preprocessing import (
    PixelScale,
    Preprocessing,
    normalize,
    read_preprocessing,
)
from models.pretrained.resizing import Resizing
from models.pretrained.source import open_checkpoint

# Pictures in a batch: what fills an accelerator, or does not waste a CPU's time when
# the last batch is padded.
_BATCH, _CPU_BATCH = 64, 8
# Part of every id: to be raised when the same checkpoint comes to embed otherwise.
_METHOD = b"vision-3"

# A tower, and the configuration of its input.
_Tower = tuple[nnx.Module, ViTConfig]


def _vit(directory: str, _: Resizing) -> _Tower:
    vit = load_vit(directory)
    return vit, vit.config


def _clip(directory: str, _: Resizing) -> _Tower:
    tower = load_clip_image_tower(directory)
    return tower, tower.vit.config


def _siglip(directory: str, _: Resizing) -> _Tower:
    tower = load_siglip_image_tower(directory)
    return tower, tower.vit.config


def _dinov2(directory: str, resizing: Resizing) -> _Tower:
    # Published for 518 pixels and used at 224: the one family that fits its positions.
    vit = load_dinov2(directory, resizing.size_px)
    return vit, vit.config


# By `model_type`. Each embeds as its `get_image_features` does, or by its CLS token.
_FAMILIES: dict[str, Callable[[str, Resizing], _Tower]] = {
    "vit": _vit,
    "clip": _clip,
    "clip_vision_model": _clip,
    "siglip": _siglip,
    "siglip_vision_model": _siglip,
    "dinov2": _dinov2,
}


class VisionEmbedder:
    """Load a checkpoint by the name of a model, see `models.pretrained.source`.

    Attributes:
        embedder_id: `TYPE@HASH`, or `hf:ID@COMMIT+HASH`; the hash is taken over what
            the embeddings depend on: parameters, configuration and preprocessing.
        default_threshold: None; none was measured on these families.

    Raises:
        ValueError: the checkpoint cannot be loaded or does not take square pictures.
    """

    default_threshold: float | None = None

    def __init__(self, name: str) -> None:
        try:
            checkpoint = open_checkpoint(name)
            directory = checkpoint.directory
            published = read_config(directory, list(_FAMILIES))
            family = published["model_type"]
            preprocessing = _preprocessing(directory, published)
            tower, config = _FAMILIES[family](directory, preprocessing.resizing)
            _check_input(config, preprocessing.resizing)
        except InputError as error:
            raise ValueError(
                f"cannot load the embedder {name!r}: {error.message}. It must be a "
                "ViT, CLIP, SigLIP or DINOv2 with config.json and safetensors"
            ) from error
        self.resizing = preprocessing.resizing
        digest = fingerprint(_METHOD, [published, preprocessing], tower)
        self.embedder_id = model_id(checkpoint, family, digest)
        self._run = _jitted(tower, preprocessing.scale)
        self._size = _CPU_BATCH if jax.default_backend() == "cpu" else _BATCH
        side = self.resizing.size_px
        blank = np.zeros((self._size, side, side, 3), np.uint8)
        self.dimension = int(jax.eval_shape(self._run, blank).shape[1])

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 [n, s, s, 3] as float32 [n, d], in padded batches.

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


def _preprocessing(directory: str, published: dict[str, Any]) -> Preprocessing:
    vision = published.get("vision_config") or published
    size = vision.get("image_size", 224)
    side = size if isinstance(size, int) else max(size)
    if published["model_type"] == "dinov2":
        side = min(side, 224)
    return read_preprocessing(directory, published["model_type"], side)


def _check_input(config: ViTConfig, resizing: Resizing) -> None:
    """Raise `bad_checkpoint` where model and preprocessing do not fit each other."""
    if config.channels != 3 or config.input_size != (resizing.size_px,) * 2:
        height, width = config.input_size
        raise InputError(
            "bad_checkpoint",
            f"the model takes {height} x {width} pixels of {config.channels} channels, "
            f"its preprocessing makes {resizing.size_px} x {resizing.size_px} of 3",
        )


def _jitted(tower: nnx.Module, scale: PixelScale) -> Callable[[np.ndarray], jax.Array]:
    graph, state = nnx.split(tower)
    # XLA for GPUs else picks its kernels by timing them, again in every process.
    options = {"xla_gpu_deterministic_ops": True}
    on_gpu = jax.default_backend() == "gpu"

    def embed(state: Any, images: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("float32"):
            output = nnx.merge(graph, state)(normalize(images, scale))
        return output[:, 0] if output.ndim == 3 else output  # CLS of a ViT's tokens

    compiled = jax.jit(embed, compiler_options=options if on_gpu else None)
    return lambda images: compiled(state, images)
