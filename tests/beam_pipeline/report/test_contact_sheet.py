"""Any frames and any text have their place on the sheet."""

import numpy as np
import pytest
from PIL import ImageFont

from beam_pipeline.report.contact_sheet import (
    HEADER_PX,
    ROW_PX,
    Example,
    draw_sheet,
    fit_lines,
    frame_picks,
)


@pytest.mark.parametrize(
    ("count", "matched", "picks"),
    [(250, 125, [0, 62, 125, 187, 249]), (250, 240, [0, 62, 124, 187, 240]),
     (2, 1, [0, 1]), (1, 0, [0])],
)  # fmt: skip
def test_the_matched_frame_is_among_the_picks(
    count: int, matched: int, picks: list[int]
) -> None:
    assert frame_picks(count, matched) == picks


@pytest.mark.parametrize("text", ["w" * 900, "a cat " * 900, "漢字" * 900])
def test_long_text_is_cut_to_its_place(text: str) -> None:
    font = ImageFont.load_default(14)
    lines = fit_lines(text, font, 340, 3)
    assert len(lines) == 3 and lines[-1].endswith("…")
    assert all(200 < font.getlength(line) <= 340 for line in lines)
    assert lines[0].startswith(text[:5])


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "\x00\x1b[31m\ud800",
        "emoji 🦜 and 漢字 and العربية",
        "\n\t" * 40,
        "x" * 10_000,
    ],
)
def test_any_caption_can_be_drawn(caption: str) -> None:
    samples = np.array([0.5], np.float32)
    example = Example(caption, ("", caption, "sound: ok"), None, (), 0, samples)
    sheet = draw_sheet(caption, [example, example])
    assert sheet.height == HEADER_PX + 2 * ROW_PX
