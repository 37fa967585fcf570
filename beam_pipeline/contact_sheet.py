"""A contact sheet: examples of pairs as one picture, a row a pair."""

import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transforms.clip_record import ClipRecord

_HEIGHT_PX = 120
_SEED_PX = 170
_FRAME_PX = 170
_TEXT_PX = 330
_GAP_PX = 8
_FRAMES = 5
_WHITE, _BLACK, _GREY, _RED = "white", "black", "#888888", "#d02020"


class Example(NamedTuple):
    """A row of the sheet.

    Attributes:
        caption: of the pair.
        facts: lines about it: score, place, sound.
        time_us: of the matched frame, in the video.
        clip: the pair's clip.
        seed: the seed image, uint8 [h, w, 3], or None when it cannot be loaded.
    """

    caption: str
    facts: list[str]
    time_us: int
    clip: ClipRecord
    seed: np.ndarray | None


def draw_sheet(examples: Sequence[Example]) -> Image.Image:
    """Draws the examples below one another; the matched frame has a red border."""
    row_px = _HEIGHT_PX + 2 * _GAP_PX
    width_px = _SEED_PX + _FRAMES * (_FRAME_PX + _GAP_PX) + _TEXT_PX + 3 * _GAP_PX
    sheet = Image.new("RGB", (width_px, row_px * max(1, len(examples))), _WHITE)
    for row, example in enumerate(examples):
        _draw_row(sheet, row * row_px + _GAP_PX, example)
    return sheet


def _draw_row(sheet: Image.Image, top_px: int, example: Example) -> None:
    draw = ImageDraw.Draw(sheet)
    _paste(sheet, _seed_image(example.seed), _GAP_PX, top_px, _SEED_PX)
    left_px = _SEED_PX + 2 * _GAP_PX
    matched = _nearest_frame(example)
    picks = frame_picks(len(example.clip.frames), matched)
    for pick in picks:
        image = Image.open(BytesIO(example.clip.frames[pick])).convert("RGB")
        box = _paste(sheet, image, left_px, top_px, _FRAME_PX)
        if pick == matched:
            draw.rectangle(box, outline=_RED, width=3)
        left_px += _FRAME_PX + _GAP_PX
    _draw_wave(draw, example.clip, left_px, top_px + _HEIGHT_PX - 24)
    wrapped = textwrap.wrap(_printable(example.caption), 44)[:3]
    _draw_text(draw, (left_px, top_px), wrapped, 14, _BLACK)
    _draw_text(draw, (left_px, top_px + 52), example.facts, 12, _GREY)


def frame_picks(count: int, matched: int) -> list[int]:
    """Frames spread over a clip, the nearest of them replaced by the matched one."""
    picks = np.linspace(0, count - 1, min(_FRAMES, count)).round().astype(int)
    picks[np.abs(picks - matched).argmin()] = matched
    return sorted(set(picks.tolist()))


def _nearest_frame(example: Example) -> int:
    clip = example.clip
    frame = round((example.time_us - clip.start_us) * clip.fps / 1_000_000)
    return min(max(0, frame), len(clip.frames) - 1)


def _seed_image(seed: np.ndarray | None) -> Image.Image:
    if seed is not None:
        return Image.fromarray(seed)
    image = Image.new("RGB", (_SEED_PX, _HEIGHT_PX), "#cccccc")
    _draw_text(ImageDraw.Draw(image), (8, 48), ["seed image", "not there"], 13, _BLACK)
    return image


def _paste(
    sheet: Image.Image, image: Image.Image, left_px: int, top_px: int, width_px: int
) -> tuple[int, int, int, int]:
    """Fits an image into a cell; gives its box."""
    image = image.copy()
    image.thumbnail((width_px, _HEIGHT_PX))
    left_px += (width_px - image.width) // 2
    top_px += (_HEIGHT_PX - image.height) // 2
    sheet.paste(image, (left_px, top_px))
    return left_px, top_px, left_px + image.width - 1, top_px + image.height - 1


def _draw_wave(
    draw: ImageDraw.ImageDraw, clip: ClipRecord, left_px: int, top_px: int
) -> None:
    """The clip's sound as peaks, a line where there is none."""
    middle_px, width_px = top_px + 12, _TEXT_PX - 2 * _GAP_PX
    draw.line((left_px, middle_px, left_px + width_px, middle_px), fill=_GREY)
    if len(clip.samples) < width_px:
        return
    blocks = np.array_split(np.abs(clip.samples), width_px)
    for x, block in enumerate(blocks):
        peak = round(12 * float(block.max()))
        draw.line(
            (left_px + x, middle_px - peak, left_px + x, middle_px + peak), fill=_GREY
        )


def _draw_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    lines: Sequence[str],
    size_px: int,
    colour: str,
) -> None:
    font = ImageFont.load_default(size_px)
    draw.multiline_text(place, "\n".join(lines), fill=colour, font=font, spacing=2)


def _printable(text: str) -> str:
    """Without control characters; what the font lacks it draws as boxes."""
    return "".join(c if c.isprintable() else " " for c in text)
