"""A contact sheet: examples of pairs as one picture, a row a pair."""

import functools
import re
import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clipseed.run.clip_record import ClipRecord

HEADER_PX = 52
ROW_PX = 144
CELL_PX = (170, 128)
_TEXT_PX = 340
_WAVE_PX = 22
_GAP_PX = 8
_FRAMES = 5
_WHITE, _BLACK, _GRAY, _RED = "white", "black", "#707070", "#d02020"
_STRIPE, _MISSING, _BLUE = "#f3f3f3", "#cccccc", "#4a7ab0"
# Tried where the built-in font, which is Latin only, has no glyphs.
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf")
_LATIN = re.compile(r"[\0-\u017f\u2010-\u2026]*")
_MAX_CHARS = 500

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Example(NamedTuple):
    """A row of the sheet.

    Attributes:
        caption: of the pair.
        facts: three lines about it: score, video, sound.
        seed: the seed image as `thumbnail` makes it, None when it cannot be loaded.
        frames: JPEGs out of the clip.
        matched: which of `frames` is the matched one.
        samples: float32 [n] in [-1, 1]; empty without sound.
    """

    caption: str
    facts: tuple[str, str, str]
    seed: Image.Image | None
    frames: tuple[bytes, ...]
    matched: int
    samples: np.ndarray


def pick_frames(clip: ClipRecord, time_us: int) -> tuple[tuple[bytes, ...], int]:
    """Return JPEGs spread over a clip, and which of them shows `time_us`."""
    frame = round((time_us - clip.start_us) * clip.fps / 1_000_000)
    matched = min(max(0, frame), len(clip.frames) - 1)
    picks = frame_picks(len(clip.frames), matched)
    return tuple(clip.frames[pick] for pick in picks), picks.index(matched)


def frame_picks(count: int, matched: int) -> list[int]:
    """Return frames spread over a clip, the nearest replaced by the matched one."""
    picks = np.linspace(0, count - 1, min(_FRAMES, count)).round().astype(int)
    picks[np.abs(picks - matched).argmin()] = matched
    return sorted(set(picks.tolist()))


def thumbnail(image: Image.Image) -> Image.Image:
    """Return an RGB copy that fits into a cell of the sheet."""
    image = image.convert("RGB")
    image.thumbnail(CELL_PX)
    return image


def printable(text: str) -> str:
    """Put text on one line, with whatever cannot be printed as a space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def draw_sheet(title: str, examples: Sequence[Example]) -> Image.Image:
    """Draw the examples below one another; the matched frame has a red border."""
    cells_px = (1 + _FRAMES) * (CELL_PX[0] + _GAP_PX)
    size = (cells_px + _TEXT_PX + 3 * _GAP_PX, HEADER_PX + ROW_PX * len(examples))
    sheet = Image.new("RGB", size, _WHITE)
    draw = ImageDraw.Draw(sheet)
    _draw_line(draw, (_GAP_PX, 6), title, 15, _BLACK, size[0] - 2 * _GAP_PX)
    for left_px, name in (
        (_GAP_PX, "seed image"),
        (_cell_left(1), "frames of the clip, the matched one in red"),
        (_cell_left(1 + _FRAMES), "caption, match and sound"),
    ):
        _draw_line(draw, (left_px, 30), name, 12, _GRAY, _TEXT_PX)
    for row, example in enumerate(examples):
        top_px = HEADER_PX + row * ROW_PX
        if row % 2 == 0:
            draw.rectangle((0, top_px, size[0], top_px + ROW_PX - 1), fill=_STRIPE)
        _draw_row(sheet, draw, top_px + (ROW_PX - CELL_PX[1]) // 2, example)
    return sheet


def _draw_row(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, top_px: int, example: Example
) -> None:
    missing = note("seed image", "cannot be loaded")
    _paste(sheet, example.seed or missing, 0, top_px)
    for cell, frame in enumerate(example.frames):
        box = _paste(sheet, Image.open(BytesIO(frame)), cell + 1, top_px)
        if cell == example.matched:
            draw.rectangle(box, outline=_RED, width=3)
    left_px = _cell_left(1 + _FRAMES)
    caption = printable(example.caption)
    font = _font(caption, 14)
    for line, text in enumerate(fit_lines(caption, font, _TEXT_PX, 3)):
        draw.text((left_px, top_px + 17 * line), text, _BLACK, font)
    for line, fact in enumerate(example.facts):
        place = (left_px, top_px + 55 + 15 * line)
        _draw_line(draw, place, fact, 12, _GRAY, _TEXT_PX)
    bottom_px = top_px + CELL_PX[1]
    _draw_wave(draw, example.samples, left_px, bottom_px - _WAVE_PX // 2)


def _cell_left(cell: int) -> int:
    """Return where a cell begins; a wider gap sets the seed apart from the frames."""
    return _GAP_PX + cell * (CELL_PX[0] + _GAP_PX) + (_GAP_PX if cell else 0)


def _paste(
    sheet: Image.Image, image: Image.Image, cell: int, top_px: int
) -> tuple[int, int, int, int]:
    """Center an image in a cell and return its box."""
    image = thumbnail(image)
    left_px = _cell_left(cell) + (CELL_PX[0] - image.width) // 2
    top_px += (CELL_PX[1] - image.height) // 2
    sheet.paste(image, (left_px, top_px))
    return left_px, top_px, left_px + image.width - 1, top_px + image.height - 1


def note(*lines: str) -> Image.Image:
    """Return a cell with words where a picture would be."""
    image = Image.new("RGB", CELL_PX, _MISSING)
    draw = ImageDraw.Draw(image)
    for line, text in enumerate(lines):
        _draw_line(draw, (12, 46 + 17 * line), text, 13, _BLACK, CELL_PX[0])
    return image


def _draw_wave(
    draw: ImageDraw.ImageDraw, samples: np.ndarray, left_px: int, middle_px: int
) -> None:
    """Draw the sound's peaks at true level; silence is a line, no sound nothing."""
    if not len(samples):
        return
    for x, block in enumerate(np.array_split(np.abs(samples), _TEXT_PX)):
        level = float(block.max()) if len(block) else 0.0
        peak_px = round(level * _WAVE_PX / 2)
        x_px = left_px + x
        draw.line((x_px, middle_px - peak_px, x_px, middle_px + peak_px), fill=_BLUE)


# --- text ----------------------------------------------------------------------------


def _draw_line(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size_px: int,
    color: str,
    width_px: int,
) -> None:
    text = printable(text)
    font = _font(text, size_px)
    for fitting in fit_lines(text, font, width_px, 1):
        draw.text(place, fitting, color, font)


def fit_lines(text: str, font: _Font, width_px: int, count: int) -> list[str]:
    """Wrap text into at most `count` lines of a width, and cut off the rest."""
    lines: list[str] = []
    text = text[:_MAX_CHARS]  # A caption may be a book; a row never holds more.
    for chars in range(width_px // 4, 1, -1):
        lines = textwrap.wrap(text, chars)
        if len(lines) > count:  # Not textwrap's own cut, which drops whole words.
            lines[count - 1 :] = [lines[count - 1][: chars - 1].rstrip() + "…"]
        if all(font.getlength(line) <= width_px for line in lines):
            break
    return lines


def _font(text: str, size_px: int) -> _Font:
    """Return the built-in font, or a system font for other scripts if there is one."""
    return _load_font(() if _LATIN.fullmatch(text) else _WIDE_FONTS, size_px)


@functools.cache
def _load_font(names: tuple[str, ...], size_px: int) -> _Font:
    for name in names:
        try:
            return ImageFont.truetype(name, size_px)
        except OSError:  # It is not installed.
            continue
    return ImageFont.load_default(size_px)
