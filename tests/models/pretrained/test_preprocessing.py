"""What a published preprocessor file means."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipseed.errors import InputError
from models.pretrained.preprocessing import (
    CLIP_SCALE,
    IMAGENET_SCALE,
    SYMMETRIC_SCALE,
    PixelScale,
    normalize,
    read_preprocessing,
)
from models.pretrained.resizing import Resizing

OLD_CLIP = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": list(CLIP_SCALE.mean),
    "image_std": list(CLIP_SCALE.deviation),
    "resample": 3,
    "size": 224,
}
DINO = {
    "image_processor_type": "BitImageProcessorFast",
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,
    "do_center_crop": True,
    "image_mean": list(IMAGENET_SCALE.mean),
    "image_std": list(IMAGENET_SCALE.deviation),
}
SIGLIP = {
    "image_processor_type": "SiglipImageProcessor",
    "size": {"height": 384, "width": 384},
    "resample": 3,
    "do_center_crop": None,
}


def write(directory: Path, fields: dict[str, Any]) -> str:
    (directory / "preprocessor_config.json").write_text(json.dumps(fields))
    return str(directory)


@pytest.mark.parametrize(
    ("fields", "family", "resizing", "scale"),
    [
        (OLD_CLIP, "clip", Resizing(224, 224, True, "bicubic"), CLIP_SCALE),
        (DINO, "dinov2", Resizing(224, 256, True, "bicubic"), IMAGENET_SCALE),
        (SIGLIP, "siglip", Resizing(384, 384, False, "bicubic"), SYMMETRIC_SCALE),
        ({"size": 96}, "vit", Resizing(96, 96, False, "bilinear"), SYMMETRIC_SCALE),
        (
            {"size": 96, "do_normalize": False, "rescale_factor": 1 / 127.5},
            "vit",
            Resizing(96, 96, False, "bilinear"),
            PixelScale((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1 / 127.5),
        ),
    ],
)
def test_reads_what_is_published(
    fields: dict[str, Any],
    family: str,
    resizing: Resizing,
    scale: PixelScale,
    tmp_path: Path,
) -> None:
    found = read_preprocessing(write(tmp_path, fields), family, 224)
    assert found.resizing == resizing
    assert found.scale == scale


def test_a_processor_that_is_saved_whole_is_read_too(tmp_path: Path) -> None:
    whole = {"image_processor": DINO, "processor_class": "CLIPProcessor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    found = read_preprocessing(str(tmp_path), "clip", 224)
    assert found.resizing == Resizing(224, 256, True, "bicubic")


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        ("vit", Resizing(32, 32, False, "bilinear")),
        ("clip", Resizing(32, 32, True, "bicubic")),
        ("siglip", Resizing(32, 32, False, "bicubic")),
        ("dinov2", Resizing(32, 32, True, "bicubic")),
    ],
)
def test_without_the_file_the_familys_own_is_taken_and_told(
    family: str, wanted: Resizing, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert read_preprocessing(str(tmp_path), family, 32).resizing == wanted
    assert "has no preprocessor_config.json" in caplog.text


@pytest.mark.parametrize(
    "fields",
    [
        {"image_processor_type": "Siglip2ImageProcessor"},
        {"do_resize": False},
        {"resample": 1},
        {"size": {"height": 32, "width": 64}},
        {"size": {"shortest_edge": 224, "longest_edge": 640}},
        {"size": "224"},
        {"size": {"shortest_edge": 224}},
        {"size": 224, "crop_size": 256, "do_center_crop": True},
        {"image_mean": [0.5]},
        {"image_std": [0.5, 0, 0.5]},
        {"rescale_factor": 0},
    ],
)
def test_what_is_not_supported_is_refused(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_preprocessing(write(tmp_path, fields), "vit", 224)
    assert caught.value.reason == "bad_checkpoint"


def test_normalizes_by_factor_mean_and_deviation() -> None:
    pixels = np.array([[[0, 51, 255]]], np.uint8)
    scale = PixelScale((0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    wanted = [[[-0.2, 0.0, 0.35]]]
    np.testing.assert_allclose(normalize(pixels, scale), wanted, atol=1e-6)
