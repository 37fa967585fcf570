"""An ONNX model as an embedder, run by ONNX Runtime (`pip install clipseed[onnx]`).

    load_embedder("onnx:mobilenet.onnx")
    load_embedder("onnx:gs://bucket/clip/model.onnx?output=image_embeds")

Height, width and whether channels come first are read from the shape of the model's
input; where that leaves them open, they are given: `?layout=nchw&size_px=224`. A
`preprocessor_config.json` beside the file says how pictures are resized and scaled, as
for a published checkpoint. Without one the model gets what TF-Hub's image models get:
a picture squeezed to its size, float32 in [0, 1] (or uint8, if it takes uint8).
"""

import hashlib
import json
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from clipseed.errors import InputError
from clipseed.io import storage
from models.embedders.base import EmbeddingError
from models.pretrained.preprocessing import (
    PixelScale,
    Preprocessing,
    read_published_preprocessing,
)
from models.pretrained.resizing import squeeze

# A batch is padded to this: one shape, so that a picture's embedding does not depend
# on how many others there are.
_BATCH = 32
_METHOD = b"onnx-1"
_ERRORS = 3  # the level from which ONNX Runtime writes to the terminal
_OPTIONS = ("layout", "size_px", "output")
_UNIT_SCALE = PixelScale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}


class _Input(NamedTuple):
    """The model's image input.

    Attributes:
        name: of the input.
        channels_first: [n, 3, h, w], not [n, h, w, 3].
        size_px: height and width.
        dtype: float32 or uint8.
        batch: pictures that the model insists on; 0: any number.
    """

    name: str
    channels_first: bool
    size_px: int
    dtype: Any
    batch: int


class OnnxEmbedder:
    """Load a model from a file, local or `gs://`.

    Attributes:
        embedder_id: `onnx:NAME@HASH`, the hash taken over the file, the options and the
            preprocessing.
        default_threshold: None; it depends on the model.

    Raises:
        ValueError: ONNX Runtime is not installed, or the model cannot be loaded or does
            not map images to vectors.
    """

    default_threshold: float | None = None

    def __init__(self, handle: str) -> None:
        uri, _, query = handle.partition("?")
        options = _options(query, handle)
        try:
            with storage.localize(uri) as path:
                self._session, digest = _load(path, uri)
            self._input = _input(self._session, options, uri)
            preprocessing = _preprocessing(uri, self._input)
        except InputError as error:
            raise ValueError(
                f"cannot load the embedder {handle!r}: {error.message}"
            ) from error
        self._scale = preprocessing.scale
        self.resizing = preprocessing.resizing
        self._output = _output(self._session, options, uri)
        digest.update(json.dumps([options, preprocessing], sort_keys=True).encode())
        self.embedder_id = f"onnx:{uri.split('/')[-1]}@{digest.hexdigest()[:12]}"
        side = self.resizing.size_px
        try:
            self.dimension = self.embed(np.zeros((1, side, side, 3), np.uint8)).shape[1]
        except EmbeddingError as error:
            raise ValueError(
                f"the embedder {handle!r} does not map images to vectors: {error}"
            ) from error

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 [n, s, s, 3] as float32 [n, d], in padded batches.

        Raises:
            EmbeddingError: ONNX Runtime failed.
        """
        step = self._input.batch or _BATCH
        parts = [self._batch(images[i : i + step]) for i in range(0, len(images), step)]
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), "f4")

    def _batch(self, images: np.ndarray) -> np.ndarray:
        size = self._input.batch or _BATCH
        batch = np.zeros((size, *images.shape[1:]), np.uint8)
        batch[: len(images)] = images
        pixels = batch if self._input.dtype == np.uint8 else _scaled(batch, self._scale)
        if self._input.channels_first:
            pixels = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        try:
            (found,) = self._session.run([self._output], {self._input.name: pixels})
        except Exception as error:  # ONNX Runtime's have no common class of their own.
            if type(error).__module__.startswith("onnxruntime"):
                raise EmbeddingError(str(error)) from error
            raise
        if found.shape[0] != size:
            raise EmbeddingError(
                f"its output {self._output} has the shape {list(found.shape)} for "
                f"{size} images; name another by ?output=NAME"
            )
        return found.reshape(size, -1)[: len(images)].astype(np.float32)


def _scaled(pixels: np.ndarray, scale: PixelScale) -> np.ndarray:
    values = pixels.astype(np.float32) * np.float32(scale.factor)
    mean = np.array(scale.mean, np.float32)
    return (values - mean) / np.array(scale.deviation, np.float32)


def _options(query: str, handle: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not set(options) <= set(_OPTIONS) or options.get("layout", "nchw") not in (
        "nchw",
        "nhwc",
    ):
        raise ValueError(
            f"cannot read the embedder's name {handle!r}: write onnx:FILE, with "
            "?layout=nchw or nhwc, size_px=PIXELS and output=NAME, joined by '&', "
            "where the model leaves them open"
        )
    return options


def _load(path: str, uri: str) -> tuple[Any, Any]:
    """Return a session, and the hash of the file."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "no_onnxruntime",
            "ONNX Runtime is not installed: pip install 'clipseed[onnx]'",
        ) from error
    digest = hashlib.sha256(_METHOD)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS
        # Idle threads that spin take a third of the CPU from decoding beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = onnxruntime.get_available_providers()
        return onnxruntime.InferenceSession(path, options, providers), digest
    except Exception as error:  # As above: by module, not by class.
        if type(error).__module__.startswith("onnxruntime"):
            raise InputError("bad_model", f"{uri}: {error}") from error
        raise


def _input(session: Any, options: dict[str, str], uri: str) -> _Input:
    """Return the image input, by the model and what the name adds.

    Raises:
        InputError: `bad_model`.
    """
    inputs = session.get_inputs()
    images = [each for each in inputs if len(each.shape) == 4]
    if len(images) != 1 or len(inputs) != 1 or images[0].type not in _TYPES:
        told = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        raise InputError(
            "bad_model",
            f"{uri} takes {told}: it must take one batch of images, float32 or uint8",
        )
    batch, *sides = (
        size if isinstance(size, int) and size > 0 else 0 for size in images[0].shape
    )
    layouts = {"nchw": sides[0] == 3, "nhwc": sides[2] == 3}
    fitting = [name for name, fits in layouts.items() if fits]
    layout = options.get("layout") or (fitting[0] if len(fitting) == 1 else "")
    if not layout or (fitting and layout not in fitting):
        raise InputError(
            "bad_model",
            f"{uri} takes {images[0].shape}, which does not say where the channels "
            "are: add ?layout=nchw or ?layout=nhwc to its name",
        )
    height, width = sides[1:] if layout == "nchw" else sides[:2]
    given = options.get("size_px", "")
    size = int(given) if given.isdecimal() else height or width
    if not size or {height, width} - {0, size}:
        raise InputError(
            "bad_model",
            f"{uri} takes {images[0].shape}: images must be square; where the model "
            "leaves their size open, add ?size_px=PIXELS to its name",
        )
    dtype = _TYPES[images[0].type]
    return _Input(images[0].name, layout == "nchw", size, dtype, batch)


def _preprocessing(uri: str, image: _Input) -> Preprocessing:
    """Return what the file beside the model says, or TF-Hub's convention.

    Raises:
        InputError: `bad_checkpoint`, also if it makes pictures of another size.
    """
    found = read_published_preprocessing(storage.parent(uri))
    if found is None:
        return Preprocessing(squeeze(image.size_px), _UNIT_SCALE)
    if found.resizing.size_px != image.size_px:
        raise InputError(
            "bad_checkpoint",
            f"{uri} takes {image.size_px} pixels, the preprocessor_config.json beside "
            f"it makes {found.resizing.size_px}",
        )
    return found


def _output(session: Any, options: dict[str, str], uri: str) -> str:
    names = [each.name for each in session.get_outputs()]
    wanted = options.get("output")
    if wanted is None:
        known = [n for n in ("image_embeds", "pooler_output") if n in names]
        wanted = names[0] if len(names) == 1 else next(iter(known), None)
    if wanted is None or wanted not in names:
        raise ValueError(
            f"the embedder {uri} has the outputs {', '.join(names)}: name one by "
            "?output=NAME"
        )
    return wanted
