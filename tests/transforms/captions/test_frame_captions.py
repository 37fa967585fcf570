import math
from collections.abc import Sequence

import numpy as np

from clipseed.elements import ImageChunk, Video
from clipseed.errors import DeadLetter
from models.captioning.base import CaptioningError, Search, WrittenCaption
from models.pretrained.resizing import squeeze
from transforms.captions.frame_captions import (
    CaptionerHandler,
    FrameCaption,
    caption_chunk,
)

FILM = Video("v", "film.mp4", "/films/film.mp4")
SEARCH = Search(1, 8)


WRITTEN = {
    1: WrittenCaption("a  dog\nruns ", math.log(0.25)),
    2: WrittenCaption("and and and", -1.0, "endless_caption"),
    3: WrittenCaption("", -1.0, "empty_caption"),
    4: WrittenCaption("", -math.inf, "bad_logits"),
}


class FakeCaptioner:
    """Writes what the first pixel says; fails on batches that hold the value 13."""

    captioner_id, resizing, max_tokens = "fake", squeeze(2), 8

    def caption(self, images: np.ndarray, search: Search) -> Sequence[WrittenCaption]:
        assert search == SEARCH
        values = images[:, 0, 0, 0].tolist()
        if 13 in values:
            raise CaptioningError("out of memory")
        return [WRITTEN[value] for value in values]


def chunk(*values: int) -> ImageChunk:
    images = np.zeros((len(values), 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = values
    return ImageChunk(FILM, tuple(range(len(values))), images)


def test_every_frame_has_a_caption_or_a_dead_letter() -> None:
    captions, rejected = caption_chunk(chunk(1, 2, 3, 4), FakeCaptioner(), SEARCH)
    assert captions == [FrameCaption(FILM, 0, "a dog runs", 0.25)]
    assert [(d.stage, d.key, d.reason) for d in rejected] == [
        ("caption_frames", "film.mp4@1", "endless_caption"),
        ("caption_frames", "film.mp4@2", "empty_caption"),
        ("caption_frames", "film.mp4@3", "bad_logits"),
    ]
    assert "and and and" in rejected[0].message


def test_a_batch_that_fails_is_halved() -> None:
    captions, rejected = caption_chunk(chunk(1, 1, 13, 1, 1), FakeCaptioner(), SEARCH)
    assert [caption.time_us for caption in captions] == [0, 1, 3, 4]
    assert rejected == [
        DeadLetter("caption_frames", "film.mp4@2", "captioning_failed", "out of memory")
    ]


def test_a_chunk_is_a_batch() -> None:
    handler = CaptionerHandler("nobody", SEARCH)
    (first, second) = handler.run_inference([chunk(1), chunk(4)], FakeCaptioner())
    assert (len(first[0]), len(second[1])) == (1, 1)
    assert handler.get_num_bytes([chunk(1, 1)]) == 24
    assert handler.batch_elements_kwargs()["max_batch_size"] == 1
