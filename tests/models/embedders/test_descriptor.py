import csv
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from models.embedders.descriptor import (
    DEFAULT_THRESHOLD,
    DIMENSION,
    IMAGE_SIZE_PX,
    describe,
)
from tests.support.paths import DATA


def scenes(count: int) -> np.ndarray:
    """Made images: colored boxes at random places on a shaded ground."""
    rng = np.random.default_rng(7)
    size = IMAGE_SIZE_PX
    images = np.empty((count, size, size, 3), np.uint8)
    for image in images:
        shade = np.linspace(rng.integers(40, 120), rng.integers(120, 200), size)
        image[:] = shade[:, np.newaxis, np.newaxis]
        for _ in range(12):
            y, x = rng.integers(0, size - 30, 2)
            height, width = rng.integers(12, 90, 2)
            image[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return images


def test_rows_have_unit_norm() -> None:
    rows = describe(scenes(8))
    assert rows.dtype == np.float32
    assert rows.shape == (8, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_row_has_the_same_bytes_in_any_batch() -> None:
    images = scenes(64)
    together = describe(images)
    for i in (0, 31, 63):
        assert describe(images[i : i + 1]).tobytes() == together[i].tobytes()
    assert describe(images[::-2])[::-1].tobytes() == together[1::2].tobytes()


def test_an_empty_batch_gives_no_rows() -> None:
    assert describe(scenes(0)).shape == (0, DIMENSION)


def test_images_of_one_flat_color_give_the_first_axis() -> None:
    images = np.empty((3, IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3), np.uint8)
    for image, color in zip(
        images, ([0, 0, 0], [255, 255, 255], [250, 3, 77]), strict=True
    ):
        image[:] = color
    rows = describe(images)
    np.testing.assert_array_equal(rows, np.eye(1, DIMENSION).repeat(3, 0))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 200, 224, 3), np.uint8),
    ],
)
def test_other_shapes_and_dtypes_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="resize the images first"):
        describe(images)


def test_a_mirror_image_is_the_same() -> None:
    images = scenes(8)
    similarity = (describe(images) * describe(images[:, :, ::-1])).sum(1)
    assert similarity.min() > 0.999


def test_edited_images_are_nearest_to_their_originals() -> None:
    images = scenes(16)
    gray = images.mean(3, keepdims=True).astype(np.uint8).repeat(3, 3)
    dark = (images * 0.7).astype(np.uint8)
    crop = np.stack([resize(image[12:212, 12:212]) for image in images])
    originals = describe(images)
    for edited in (gray, dark, crop):
        similarity = describe(edited) @ originals.T
        assert np.diag(similarity).min() > DEFAULT_THRESHOLD
        assert similarity.argmax(1).tolist() == list(range(16))


def resize(image: np.ndarray) -> np.ndarray:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return to_square(frame)


def to_square(frame: av.VideoFrame) -> np.ndarray:
    size = {"width": IMAGE_SIZE_PX, "height": IMAGE_SIZE_PX}
    square = frame.reformat(**size, format="rgb24", interpolation="BILINEAR")
    return square.to_ndarray()


def frames_each_second(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the first frame of each second until the file ends or breaks."""
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        start, due_s = None, 0
        try:
            for frame in container.decode(stream):
                start = frame.time if start is None else start
                if frame.time - start >= due_s:
                    due_s = int(frame.time - start) + 1
                    yield frame.time - start, to_square(frame)
        except av.error.InvalidDataError:
            return


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data (real videos)")
def test_near_duplicates_are_found_in_real_videos() -> None:
    where: list[tuple[str, float]] = []
    frames: list[np.ndarray] = []
    for path in sorted((DATA / "videos").iterdir()):
        for time_s, image in frames_each_second(path):
            where.append((f"videos/{path.name}", time_s))
            frames.append(describe(image[np.newaxis])[0])
    with (DATA / "pairs.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))

    found: dict[str, bool] = {}
    for pair in pairs:
        name = pair["image"]
        seed = resize(np.asarray(Image.open(DATA / name).convert("RGB")))
        similarity = np.stack(frames) @ describe(seed[np.newaxis])[0]
        best = similarity.argmax()
        if pair["match_type"] == "none":
            assert similarity[best] < DEFAULT_THRESHOLD - 0.1, name
        if pair["match_type"] == "near-duplicate":
            video, time_s = where[best]
            right = similarity[best] > DEFAULT_THRESHOLD and video == pair["video"]
            right = right and float(pair["t_start"]) <= time_s <= float(pair["t_end"])
            found[name] = found.get(name, False) or right
    assert len(found) == 18
    assert sum(found.values()) >= 16, found
