import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beam_pipeline.mine import run
from clipseed.io import storage
from clipseed.run.reader import Run
from models.backbones.vit.weights import load_vit
from models.embedders.registry import load_embedder
from models.embedders.vision import VisionEmbedder
from tests.support.made_media import film, still, write_video
from tests.support.models.made_checkpoint import SIZES, Tensors, write_vit
from tests.support.paths import DATA

PARITY = DATA / "parity"
needs_parity = pytest.mark.skipif(
    not PARITY.is_dir(), reason="needs the reference checkpoints of shared/data/parity"
)


def pictures(n: int, side: int) -> np.ndarray:
    shape = (n, side, side, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def embedder(directory: str) -> VisionEmbedder:
    return VisionEmbedder(directory)


def test_a_checkpoint_of_a_bucket_is_the_same(
    directory: str, embedder: VisionEmbedder, bucket: str
) -> None:
    for path in Path(directory).iterdir():
        storage.write_bytes(f"{bucket}/vit/{path.name}", path.read_bytes())
    there = VisionEmbedder(f"{bucket}/vit")
    assert there.embedder_id == embedder.embedder_id
    images = pictures(3, 8)
    np.testing.assert_array_equal(there.embed(images), embedder.embed(images))


def test_embeds_by_the_cls_token_of_pixels_in_the_unit_range(
    directory: str, embedder: VisionEmbedder
) -> None:
    images = pictures(3, 8)
    wanted = load_vit(directory)(images / np.float32(127.5) - 1)[:, 0]
    np.testing.assert_allclose(embedder.embed(images), wanted, atol=1e-4)
    assert (embedder.resizing.size_px, embedder.dimension) == (8, 16)
    assert embedder.embed(images[:0]).shape == (0, 16)


def test_an_embedding_does_not_depend_on_the_other_images(
    embedder: VisionEmbedder,
) -> None:
    images = pictures(70, 8)
    whole = embedder.embed(images)
    assert whole.shape == (70, 16)
    np.testing.assert_array_equal(embedder.embed(images[64:]), whole[64:])
    np.testing.assert_array_equal(embedder.embed(images[:5]), whole[:5])


def test_the_id_is_of_the_content(embedder: VisionEmbedder, tmp_path: Path) -> None:
    def nudge(tensors: Tensors) -> None:
        tensors["layernorm.bias"][0] += 1e-3

    def add_head(tensors: Tensors) -> None:
        tensors["classifier.bias"] = np.zeros(3, np.float32)

    name = embedder.embedder_id
    assert name.startswith("vit@")
    assert VisionEmbedder(write_vit(tmp_path / "same")).embedder_id == name
    assert VisionEmbedder(write_vit(tmp_path / "head", add_head)).embedder_id == name
    assert VisionEmbedder(write_vit(tmp_path / "other", nudge)).embedder_id != name
    scale = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "size": 8}
    (tmp_path / "same" / "preprocessor_config.json").write_text(json.dumps(scale))
    scaled = VisionEmbedder(str(tmp_path / "same"))
    assert scaled.embedder_id != name
    values = (pictures(1, 8) / 255 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4]
    wanted = load_vit(str(tmp_path / "same"))(np.asarray(values, np.float32))
    np.testing.assert_allclose(scaled.embed(pictures(1, 8)), wanted[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    "setting",
    [{"hidden_act": "quick_gelu"}, {"layer_norm_eps": 0.1}, {"num_attention_heads": 4}],
)
def test_a_checkpoint_brings_its_settings(
    setting: dict[str, object], embedder: VisionEmbedder, tmp_path: Path
) -> None:
    """The same tensors with another configuration are another model."""
    directory = Path(write_vit(tmp_path / "vit"))
    (directory / "config.json").write_text(json.dumps({**SIZES, **setting}))
    other = VisionEmbedder(str(directory))
    assert other.embedder_id != embedder.embedder_id
    difference = other.embed(pictures(2, 8)) - embedder.embed(pictures(2, 8))
    assert np.abs(difference).max() > 1e-3


@needs_parity
def test_clip_embeds_by_its_projection() -> None:
    embedder = load_embedder(f"{PARITY / 'clip'}")
    assert embedder.embedder_id.startswith("clip@")
    assert (embedder.resizing.size_px, embedder.dimension) == (64, 32)
    assert np.isfinite(embedder.embed(pictures(2, 64))).all()


@pytest.mark.parametrize(
    "case", ["absent", "not square", "bad scale", "no scale", "text"]
)
def test_says_why_a_checkpoint_cannot_embed(case: str, tmp_path: Path) -> None:
    directory = Path(write_vit(tmp_path / "vit"))
    if case == "absent":
        directory = tmp_path / "nowhere"
    if case == "not square":
        sizes = {**SIZES, "image_size": [16, 4]}
        (directory / "config.json").write_text(json.dumps(sizes))
    if case == "bad scale":
        scale = {"image_mean": [0.5]}
        (directory / "preprocessor_config.json").write_text(json.dumps(scale))
    if case == "no scale":
        scale = {"image_std": [0.5, 0, 0.5]}
        (directory / "preprocessor_config.json").write_text(json.dumps(scale))
    if case == "text":
        (directory / "config.json").write_text('{"model_type": "bert"}')
    told = {
        "absent": "does not exist",
        "not square": "16 x 4 pixels",
        "bad scale": "each of three channels",
        "no scale": r"a deviation of 0\.0",
        "text": "model_type 'bert'",
    }
    with pytest.raises(ValueError, match=told[case]):
        load_embedder(f"{directory}")


def test_mines_with_it(
    directory: str, embedder: VisionEmbedder, tmp_path: Path
) -> None:
    (tmp_path / "videos").mkdir()
    for scene in (1, 2):
        write_video(tmp_path / "videos" / f"{scene}.mp4", film(scene, 4))
    Image.fromarray(still(1)).save(tmp_path / "one.png")
    (tmp_path / "seeds.csv").write_text("image,caption\none.png,the first scene\n")
    flags = [
        f"--seeds={tmp_path / 'seeds.csv'}",
        f"--videos={tmp_path / 'videos'}",
        f"--output={tmp_path / 'run'}",
        f"--embedder={directory}",
        "--num_shards=1",
        "--top_k=1",
        "--threshold=-1",
    ]
    assert run(flags) == 0
    pairs = (tmp_path / "run" / "pairs.csv").read_text()
    assert pairs.count("\n") == 1 and "1.mp4" in pairs
    assert Run.open(tmp_path / "run").mining.embedder == embedder.embedder_id
