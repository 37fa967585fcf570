"""From a JPEG, or a frame of a video, to the features of the reference implementation.

By the steps of `clipseed mine`: seeds are loaded, frames extracted, both embedded as
there.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clipseed.elements import SeedRow
from models.embedders.base import Embedder, unit_rows
from models.embedders.registry import load_embedder
from models.pretrained.resizing import Resizing
from tests.support.paths import DATA
from transforms.frames.embed import embed_chunk
from transforms.media.images import ImageLimits, decode_image
from transforms.media.isolation.worker_process import Isolation
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames
from transforms.seeds.load_images import LoadConfig, SeedBatch, load_batch

MODELS = DATA / "parity_models"
needs_models = pytest.mark.skipif(
    not MODELS.is_dir(), reason="needs the checkpoints of shared/data/parity_models"
)
FAMILIES = ("clip", "siglip", "dinov2", "vit")


def published(family: str) -> tuple[Embedder, list[Path], np.ndarray]:
    """Return an embedder, pictures, and their features by the reference, unit norm."""
    directory = MODELS / f"{family}_images"
    stored = np.load(directory / "io.npz")
    files = [DATA / "images" / str(name) for name in stored["in.files"]]
    wanted, _ = unit_rows(stored["out.image_features"])
    return load_embedder(str(directory)), files, wanted


@needs_models
@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_has_the_published_features(family: str) -> None:
    embedder, files, wanted = published(family)
    rows = [SeedRow(path.name, str(path), "") for path in files]
    loaded = load_batch(
        SeedBatch("seeds", rows), LoadConfig(embedder.resizing), Isolation(False)
    )
    assert loaded.images is not None and not loaded.rejected
    chunk, rejected = embed_chunk(loaded.images, embedder)
    assert not rejected
    cosines = (chunk.embeddings * wanted).sum(axis=1)
    assert cosines.min() >= 0.9999999


@needs_models
@pytest.mark.parametrize("family", FAMILIES)
def test_a_frame_has_them_too(family: str, tmp_path: Path) -> None:
    embedder, files, wanted = published(family)
    frames = [
        frame_of(path, tmp_path / "film.mkv", embedder.resizing) for path in files
    ]
    found, _ = unit_rows(embedder.embed(np.stack(frames)))
    assert (found * wanted).sum(axis=1).min() >= 0.99999


def frame_of(picture: Path, film: Path, resizing: Resizing) -> np.ndarray:
    """Return what is sampled of a lossless video that shows a picture."""
    rgb = decode_image(picture.read_bytes(), ImageLimits())
    with av.open(str(film), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(1))
        stream.height, stream.width = rgb.shape[:2]
        stream.pix_fmt = "bgr0"
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode())
    config = SamplingConfig(1.0, "exact", resizing, 120.0, 60.0)
    (item,) = extract_frames(str(film), 0, 2**62, config)
    assert isinstance(item, Frame)
    return item.image
