"""Images of every awkward class, made here with Pillow."""

import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest
from PIL import Image, ImageFile

from clipseed.errors import InputError
from tests.support.paths import DATA
from transforms.media.images import (
    ImageLimits,
    decode_image,
    encode_jpeg,
    resize_for_embedding,
)

LIMITS = ImageLimits()


def patches(height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 [height, width, 3]: flat 8 px patches, which JPEG keeps nearly exact."""
    colors = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    grown = colors.repeat(8, axis=0).repeat(8, axis=1)
    return grown[:height, :width]


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def reason(data: bytes, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(InputError) as caught:
        decode_image(data, limits)
    return caught.value.reason


LOSSLESS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": lambda image: encoded(image, "PNG"),
    "webp": lambda image: encoded(image, "WEBP", lossless=True),
    "bmp": lambda image: encoded(image, "BMP"),
    "tiff": lambda image: encoded(image, "TIFF"),
    "tiff-lzw": lambda image: encoded(image, "TIFF", compression="tiff_lzw"),
    "gif": lambda image: encoded(image.quantize(64, dither=Image.Dither.NONE), "GIF"),
}
LOSSY: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda image: encoded(image, "JPEG", quality=95, subsampling=0),
    "progressive": lambda image: encoded(
        image, "JPEG", quality=95, subsampling=0, progressive=True
    ),
}
EVERY = LOSSLESS | LOSSY


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_decode_to_the_pixels_that_were_written(name: str) -> None:
    rgb = decode_image(LOSSLESS[name](Image.fromarray(patches())), LIMITS)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous and rgb.flags.writeable
    np.testing.assert_array_equal(rgb, patches())


@pytest.mark.parametrize("name", LOSSY)
def test_jpeg_decodes_to_nearly_the_pixels_that_were_written(name: str) -> None:
    rgb = decode_image(LOSSY[name](Image.fromarray(patches())), LIMITS)
    assert np.abs(rgb.astype(int) - patches()).max() <= 4


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(fmt: str, orientation: int) -> None:
    upright = patches()
    stored = {  # how a camera held that way writes the upright scene
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if fmt == "JPEG" else {}
    options |= {"lossless": True} if fmt == "WEBP" else {}
    image = Image.fromarray(np.ascontiguousarray(stored))
    rgb = decode_image(encoded(image, fmt, exif=exif, **options), LIMITS)
    assert rgb.shape == upright.shape
    assert np.abs(rgb.astype(int) - upright).max() <= 4


def test_unreadable_exif_costs_no_good_picture() -> None:
    exif = b"Exif\0\0II*\0\xff\xff\xff\x7f garbage"
    data = encoded(Image.fromarray(patches()), "PNG", exif=exif)
    np.testing.assert_array_equal(decode_image(data, LIMITS), patches())


@pytest.mark.parametrize("fmt", ["JPEG", "TIFF"])
def test_cmyk_keeps_its_colors(fmt: str) -> None:
    options = {"quality": 95, "subsampling": 0} if fmt == "JPEG" else {}
    data = encoded(Image.fromarray(patches()).convert("CMYK"), fmt, **options)
    if fmt == "JPEG":
        assert b"Adobe" in data[:200]  # stored inverted, as Photoshop does
    rgb = decode_image(data, LIMITS)
    assert np.abs(rgb.astype(int) - patches()).max() <= 6


@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("TIFF", "<i4")],
)
def test_16_bit_gray_is_scaled_not_clipped(fmt: str, dtype: str) -> None:
    ramp = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], dtype)
    rgb = decode_image(encoded(Image.fromarray(ramp), fmt), LIMITS)
    expected = [0, 0, 1, 1, 128, 254, 255, 255]
    np.testing.assert_array_equal(rgb[0], np.array([expected] * 3).T)


def test_samples_without_an_agreed_white_are_refused() -> None:
    wide = Image.fromarray(np.array([[0, 70_000]], np.int32))
    assert reason(encoded(wide, "TIFF")) == "unsupported_pixels"
    real = Image.fromarray(np.array([[0.0, 1.0]], np.float32))
    assert reason(encoded(real, "TIFF")) == "unsupported_pixels"


@pytest.mark.parametrize("mode", ["1", "L", "P", "LAB"])
def test_modes_without_alpha_convert(mode: str) -> None:
    image = Image.new("RGB", (5, 3), "white")
    data = (
        encoded(image.convert(mode), "TIFF")
        if mode != "LAB"
        else encoded(Image.new("LAB", (5, 3), (255, 128, 128)), "TIFF")
    )
    rgb = decode_image(data, LIMITS)
    assert rgb.shape == (3, 5, 3)
    assert rgb.min() >= 253


def test_transparency_is_laid_on_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = [0, 128, 255]
    image = Image.fromarray(rgba)
    expected = [[255] * 3, [127] * 3, [0] * 3]
    for data in (encoded(image, "PNG"), encoded(image, "WEBP", lossless=True)):
        np.testing.assert_array_equal(decode_image(data, LIMITS)[0], expected)
    gray = encoded(image.convert("LA"), "PNG")
    np.testing.assert_array_equal(decode_image(gray, LIMITS)[0], expected)


def test_a_transparent_palette_or_key_color_is_laid_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    for fmt in ("GIF", "PNG"):
        rgb = decode_image(encoded(palette, fmt, transparency=0), LIMITS)
        np.testing.assert_array_equal(rgb[0], [[255, 255, 255], [0, 0, 255]])
    key = encoded(Image.new("RGB", (1, 1), "red"), "PNG", transparency=(255, 0, 0))
    np.testing.assert_array_equal(decode_image(key, LIMITS)[0, 0], [255] * 3)


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_taken(fmt: str) -> None:
    frames = [Image.new("RGB", (16, 8), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if fmt == "WEBP" else {}
    data = encoded(frames[0], fmt, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as written:
        assert getattr(written, "n_frames", 1) == 3
    rgb = decode_image(data, LIMITS)
    assert np.abs(rgb.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 40_000)])
def test_tiny_and_extreme_shapes(size: tuple[int, int]) -> None:
    rgb = decode_image(encoded(Image.new("RGB", size, (9, 8, 7)), "PNG"), LIMITS)
    assert rgb.shape == (size[1], size[0], 3)
    small = resize_for_embedding(rgb, 32)
    assert small.shape == (32, 32, 3)
    # The scaler's coefficients have 14 bits: 1250 rows to one cost up to 3 levels.
    assert np.abs(small.astype(int) - [9, 8, 7]).max() <= 3


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size without a pixel: decoding it would fail."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    end = b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + chunk + end


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8_001, 10_000, 50_000])
def test_a_bomb_is_refused_from_its_header(side: int) -> None:
    assert reason(png_header(side, side)) == "too_many_pixels"


def test_the_pixel_limit_is_inclusive() -> None:
    data = encoded(Image.new("RGB", (10, 10)), "PNG")
    assert decode_image(data, ImageLimits(max_pixels=100)).shape == (10, 10, 3)
    assert reason(data, ImageLimits(max_pixels=99)) == "too_many_pixels"


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", EVERY)
def test_a_truncated_file_gives_no_half_gray_image(name: str, part: float) -> None:
    data = EVERY[name](Image.fromarray(patches()))
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert reason(data[: int(len(data) * part)]) == "corrupt_image"


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(LOSSLESS["png"](Image.fromarray(patches())))
    data[data.index(b"IDAT") + 40] ^= 1
    assert reason(bytes(data)) == "corrupt_image"


@pytest.mark.filterwarnings("ignore")
def test_mutated_files_are_decoded_or_refused_never_raise_else() -> None:
    random = np.random.default_rng(0)
    outcomes = set()
    for encode in EVERY.values():
        data = encode(Image.fromarray(patches()))
        for _ in range(60):
            broken = np.frombuffer(data, np.uint8).copy()
            broken[random.integers(0, min(len(data), 200), 4)] ^= 0x55
            try:
                outcomes.add(decode_image(broken.tobytes(), LIMITS).dtype.name)
            except InputError as error:
                outcomes.add(error.reason)
    assert {"uint8", "corrupt_image", "not_an_image"} <= outcomes


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 64, b"<html>404</html>", b"<svg/>", b"%PDF-1.7", b"BM"]
)
def test_what_is_not_an_image(data: bytes) -> None:
    assert reason(data) == "not_an_image"


def test_a_message_quotes_no_bytes_of_the_file() -> None:
    with pytest.raises(InputError) as caught:
        decode_image(b"root:x:0:0", LIMITS)
    assert "root" not in caught.value.message


def test_messages_do_not_vary_between_runs() -> None:
    messages = set()
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            decode_image(b"\xff\xd8\xff", LIMITS)
        messages.add(caught.value.message)
    assert len(messages) == 1 and "0x" not in messages.pop()


def test_threads_decode_alike() -> None:
    files = [encode(Image.fromarray(patches())) for encode in EVERY.values()] * 8
    alone = [decode_image(data, LIMITS) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: decode_image(data, LIMITS), files))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "view",
    [
        patches()[:47, :63],
        patches()[::-1, ::-1],
        patches()[:, :, ::-1],
        patches()[1::3, 2::5],
        patches().transpose(1, 0, 2),
        np.asfortranarray(patches()),
    ],
)
def test_resize_reads_odd_widths_and_strides_right(view: np.ndarray) -> None:
    expected = Image.fromarray(np.ascontiguousarray(view)).resize(
        (24, 24), Image.Resampling.BILINEAR
    )
    small = resize_for_embedding(view, 24)
    np.testing.assert_array_equal(
        small, resize_for_embedding(np.ascontiguousarray(view), 24)
    )
    # libswscale halves the chroma of RGB input, so it is near to Pillow, not equal.
    assert np.abs(small.astype(int) - np.asarray(expected)).mean() < 6


def test_resize_of_one_pixel_and_of_the_same_size() -> None:
    pixel = np.array([[[200, 30, 90]]], np.uint8)
    assert np.unique(
        resize_for_embedding(pixel, 24).reshape(-1, 3), axis=0
    ).tolist() == [[200, 30, 90]]
    same = patches(48, 48)
    np.testing.assert_array_equal(resize_for_embedding(same, 48), same)


def test_a_large_downscale_is_antialiased() -> None:
    checker = np.indices((2048, 2048)).sum(0, dtype=np.uint8) % 2 * np.uint8(255)
    small = resize_for_embedding(checker[..., None].repeat(3, axis=2), 64)
    assert np.abs(small.astype(int) - 127.5).max() < 4


def test_beyond_the_scaler_is_an_input_error() -> None:
    with pytest.raises(InputError) as caught:
        resize_for_embedding(np.zeros((1, 16_000_000, 3), np.uint8), 32)
    assert caught.value.reason == "extreme_aspect"


def test_a_seed_and_a_frame_of_it_meet_in_one_scaler() -> None:
    """A frame held as YUV and the same frame saved as an image embed alike."""
    if not DATA.is_dir():
        pytest.skip(f"needs the test media in {DATA.name}")
    path = next((DATA / "images").glob("*.jpg"))
    rgb = decode_image(path.read_bytes(), LIMITS)
    rgb = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    direct = frame.reformat(
        width=64, height=64, format="rgb24", interpolation="BILINEAR"
    ).to_ndarray()
    seed = resize_for_embedding(rgb, 64)
    assert np.abs(direct.astype(int) - seed).mean() < 3


def test_jpegs_are_deterministic_and_decode_back() -> None:
    data = encode_jpeg(patches(), 90)
    assert data == encode_jpeg(patches().copy(), 90)
    assert len(encode_jpeg(patches(), 30)) < len(data)
    back = decode_image(encode_jpeg(patches()[::-1], 90), LIMITS)
    assert np.abs(back.astype(int) - patches()[::-1]).mean() < 12
