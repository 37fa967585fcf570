"""The image embedder of the made world: learned from labeled stills, like Graph-RISE.

A small convolutional network is trained to tell place, object and color of stills that
neither the corpus nor the seeds hold; what lies before its classifiers is the
embedding. It is saved as a SavedModel, and the mining job loads it by `hub:DIR`.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from beam_pipeline.demo.world import Scene
from benchmarks.made_world.corpus import still
from benchmarks.made_world.scenes import OBJECTS, PLACES, SEEN_COLORS

SIZE_PX, DIMENSION = 64, 64
_WIDTHS = (24, 48, 96, 128)
_EPOCHS, _BATCH = 24, 64
_SHARPNESS = 16.0  # Cosines are multiplied by it before the softmax.
_FACTS = {"place": PLACES, "object": OBJECTS, "color": SEEN_COLORS}


def train_embedder(directory: Path, stills: np.ndarray, scenes: Sequence[Scene]) -> str:
    """Train and save the embedder.

    Args:
        directory: of the SavedModel.
        stills: uint8 [n, 64, 64, 3], RGB.
        scenes: what they show.

    Returns:
        What `--embedder` takes.
    """
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    images = keras.Input((SIZE_PX, SIZE_PX, 3))
    embedding = keras.layers.UnitNormalization()(_trunk(images))
    heads = {
        fact: keras.layers.Dense(len(words), use_bias=False, name=fact)(
            embedding * _SHARPNESS
        )
        for fact, words in _FACTS.items()
    }
    model = keras.Model(images, heads)
    losses = {fact: keras.losses.SparseCategoricalCrossentropy(True) for fact in _FACTS}
    steps = _EPOCHS * len(stills) // _BATCH
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), losses)
    labels = {
        fact: np.array([words.index(getattr(scene, fact)) for scene in scenes])
        for fact, words in _FACTS.items()
    }
    model.fit(stills / np.float32(255), labels, _BATCH, _EPOCHS, verbose=0)
    extractor = keras.Model(images, embedding)
    signature = tf.TensorSpec((None, SIZE_PX, SIZE_PX, 3), tf.float32)
    function = tf.function(extractor, input_signature=[signature])
    module = tf.Module()
    module.model, module.__call__ = extractor, function
    tf.saved_model.save(module, str(directory), {"serving_default": function})
    return f"hub:{directory}"


def _trunk(images: Any) -> Any:
    import keras

    hidden = images
    for width in _WIDTHS:
        hidden = keras.layers.Conv2D(width, 3, 2, "same", use_bias=False)(hidden)
        hidden = keras.layers.BatchNormalization()(hidden)
        hidden = keras.layers.ReLU()(hidden)
    return keras.layers.Dense(DIMENSION)(keras.layers.GlobalAveragePooling2D()(hidden))


def label_stills(scenes: Sequence[Scene], first: int) -> np.ndarray:
    """Render scenes as the embedder takes them: uint8 [n, 64, 64, 3]."""
    visits = range(first, first + len(scenes))
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return np.stack(list(pool.map(_small, scenes, visits, chunksize=32)))


def _small(scene: Scene, visit: int) -> np.ndarray:
    image = Image.fromarray(still(scene, visit))
    return np.asarray(image.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC))
