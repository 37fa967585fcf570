"""A TF-Hub image-feature model as an embedder.

Takes the common image-feature signature of TF-Hub: float32 [n, h, w, 3] in [0, 1] to
float32 [n, d], as a SavedModel of TF 2 (callable) or of TF 1 (signature `default`).
"""

import hashlib
import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np

from clipseed.errors import InputError
from clipseed.io.download import local_tree
from clipseed.quiet import quiet_libraries
from models.embedders.base import PAPER_THRESHOLD, EmbeddingError
from models.pretrained.resizing import squeeze

_DEFAULT_SIZE_PX = 224
# Batches are padded to one of these sizes: few shapes to compile, and the same frames
# always meet the same shape, so that their embeddings are the same to the bit.
_BATCH_SIZES = (8, 16, 32, 64)


class HubEmbedder:
    """Load a model by TF-Hub handle, or from a directory, local or `gs://`.

    Attributes:
        embedder_id: `hub:NAME@HASH`, the hash taken over the model's files.

    Raises:
        ValueError: the model cannot be loaded or does not map images to vectors.
    """

    default_threshold: float | None = PAPER_THRESHOLD

    def __init__(self, handle: str) -> None:
        quiet_libraries()  # Workers on other machines load models as well.
        import tensorflow as tf

        with warnings.catch_warnings():
            # Of the pinned setuptools, about what tensorflow-hub imports of it.
            warnings.filterwarnings("ignore", "pkg_resources is deprecated")
            import tensorflow_hub as hub

        model, digest = _load(tf, hub, handle)
        self._tf = tf
        self._model = model  # Keeps the variables of the function alive.
        self._function = _image_function(model, handle)
        size_px = _input_size_px(self._function, handle)
        self.resizing = squeeze(size_px)
        name = handle.rstrip("/").split("/")[-1]
        self.embedder_id = f"hub:{name}@{digest}"
        blank = np.zeros((1, size_px, size_px, 3), np.uint8)
        try:
            self.dimension = self.embed(blank).shape[1]
        except (EmbeddingError, ValueError, TypeError) as error:
            raise ValueError(
                f"the embedder {handle!r} does not map images to vectors: {error}"
            ) from error

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 [n, s, s, 3] as float32 [n, d], in padded batches."""
        step = _BATCH_SIZES[-1]
        parts = [self._batch(images[i : i + step]) for i in range(0, len(images), step)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), "f4")

    def _batch(self, images: np.ndarray) -> np.ndarray:
        size = next(size for size in _BATCH_SIZES if size >= len(images))
        batch = np.zeros((size, *images.shape[1:]), np.float32)
        batch[: len(images)] = images
        batch /= 255
        try:
            output = self._function(self._tf.constant(batch))
        except self._tf.errors.OpError as error:
            raise EmbeddingError(error.message) from error
        if isinstance(output, dict):
            output = output.get("default", next(iter(output.values())))
        features = np.asarray(output, np.float32)
        return features.reshape(size, -1)[: len(images)]


def _load(tf: Any, hub: Any, handle: str) -> tuple[Any, str]:
    """Return a model, and the hash of its files."""
    is_folder = handle.startswith("gs://") and not handle.endswith("gz")
    try:
        # From a bucket by our own client: one way to give credentials, and to retry.
        with local_tree(handle) if is_folder else nullcontext(handle) as place:
            directory = str(hub.resolve(place))
            return hub.load(directory), _hash(tf.io.gfile, directory)
    except (OSError, ValueError, RuntimeError, InputError, tf.errors.OpError) as error:
        what = error.message if isinstance(error, InputError) else error
        raise ValueError(
            f"cannot load the embedder {handle!r}: {what}. It must be a TF-Hub handle "
            "or a SavedModel directory"
        ) from error


def _image_function(model: Any, handle: str) -> Any:
    signatures = getattr(model, "signatures", {})
    for name in ("serving_default", "default", "image_feature_vector"):
        if name in signatures:
            function = signatures[name]
            inputs = function.structured_input_signature[1]
            if len(inputs) == 1:
                key = next(iter(inputs))
                return _Named(function, key)
    if callable(model):
        return model
    raise ValueError(
        f"the embedder {handle!r} is not callable and has no signature with one image "
        f"input; its signatures: {', '.join(signatures) or 'none'}"
    )


class _Named:
    """A signature of one input, called by position."""

    def __init__(self, function: Any, key: str) -> None:
        self._function = function
        self._key = key
        self.shape = function.structured_input_signature[1][key].shape

    def __call__(self, batch: Any) -> Any:
        return self._function(**{self._key: batch})


def _input_size_px(function: Any, handle: str) -> int:
    shape = getattr(function, "shape", None)
    if shape is None or shape.rank is None:
        return _DEFAULT_SIZE_PX
    if shape.rank != 4 or shape[1] != shape[2] or shape[3] not in (3, None):
        raise ValueError(
            f"the embedder {handle!r} takes {shape}, not batches of square RGB images"
        )
    return _DEFAULT_SIZE_PX if shape[1] is None else int(shape[1])


def _hash(gfile: Any, directory: str) -> str:
    """Name a model by what is in it, wherever it lies."""
    digest = hashlib.sha256()
    for folder, _, names in sorted(gfile.walk(directory)):
        for name in sorted(names):
            path = f"{folder.rstrip('/')}/{name}"
            digest.update(path[len(directory) :].strip("/").encode())
            with gfile.GFile(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()[:12]
