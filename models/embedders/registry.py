"""Embedders: uint8 images to unit-norm vectors.

`load_embedder` knows them by the names that `--embedder` takes:

- `descriptor`: built in, no download (`models.embedders.descriptor`);
- `hub:HANDLE_OR_DIR`: a TF-Hub handle or a SavedModel (`models.embedders.tf_hub`);
- `jax:DIR`: a published ViT or CLIP, local or `gs://` (`models.embedders.hf_vision`).
"""

import functools

import numpy as np

from models.embedders.base import Embedder


class DescriptorEmbedder:
    """The built-in descriptor behind the embedder's interface."""

    def __init__(self) -> None:
        from models.embedders import descriptor

        self.embedder_id = descriptor.EMBEDDER_ID
        self.dimension = descriptor.DIMENSION
        self.image_size_px = descriptor.IMAGE_SIZE_PX
        self.default_threshold = descriptor.DEFAULT_THRESHOLD
        self._describe = descriptor.describe

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Describes uint8 [n, 224, 224, 3] as float32 [n, d]."""
        return self._describe(images)


@functools.lru_cache(maxsize=2)
def load_embedder(name: str) -> Embedder:
    """Loads the embedder that `--embedder` names, once a process.

    Raises:
        ValueError: an unknown kind, or a model that cannot be loaded or does not map
            images to vectors; the message says what to do.
    """
    if name == "descriptor":
        return DescriptorEmbedder()
    kind, _, handle = name.partition(":")
    if kind == "hub" and handle:
        from models.embedders.tf_hub import HubEmbedder

        return HubEmbedder(handle)
    if kind == "jax" and handle:
        from models.embedders.hf_vision import JaxEmbedder

        return JaxEmbedder(handle)
    raise ValueError(
        f"unknown embedder {name!r}: use 'descriptor', 'hub:HANDLE_OR_DIRECTORY' or "
        "'jax:CHECKPOINT_DIRECTORY'"
    )
