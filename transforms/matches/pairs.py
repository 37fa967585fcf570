"""Which match is captioned how: from a seed's best matches to rows of `pairs.csv`."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from apache_beam import coders

from clipseed.elements import Match, Video


class Selected(NamedTuple):
    """A match among its seed's best, with one caption of the seed.

    Attributes:
        seed_id: of the seed.
        image: the seed image's reference.
        caption: one of its captions.
        rank: 1 for the seed's best match.
        similarity: of the matched frame.
        time_us: of the matched frame.
        video: that it is in.
    """

    seed_id: str
    image: str
    caption: str
    rank: int
    similarity: float
    time_us: int
    video: Video


class Pair(NamedTuple):
    """A row of `pairs.csv`, the first four fields, and where it comes from.

    Attributes:
        video: the video's reference.
        start_us: of the clip.
        end_us: likewise.
        caption: byte for byte as in the seeds.
        clip_id: names the clip's record in `clips/`.
        sound: the verdict on the clip's sound.
    """

    video: str
    start_us: int
    end_us: int
    caption: str
    clip_id: str
    video_id: str
    seed_id: str
    image: str
    rank: int
    similarity: float
    time_us: int
    sound: str


for _element in (Selected, Pair):
    coders.registry.register_coder(_element, coders.RowCoder)


def select(
    seed_id: str, captions: Iterable[tuple[str, str]], matches: Iterable[list[Match]]
) -> Iterator[Selected]:
    """Yields each of a seed's matches with each of its captions.

    Args:
        seed_id: of the seed.
        captions: `(reference, caption)` pairs; of equal captions the first by
            reference counts.
        matches: at most one list, the best first.
    """
    images: dict[str, str] = {}
    for reference, caption in sorted(captions):
        images.setdefault(caption, reference)
    for best in matches:
        for rank, match in enumerate(best, start=1):
            for caption, image in sorted(images.items()):
                yield Selected(
                    seed_id,
                    image,
                    caption,
                    rank,
                    match.similarity,
                    match.time_us,
                    match.video,
                )


def caption_rows(selected: Iterable[Selected]) -> list[Selected]:
    """What one clip is captioned with: of equal captions the most similar seed's."""
    best: dict[str, Selected] = {}
    for row in sorted(selected, key=lambda r: (-r.similarity, r.seed_id, r.time_us)):
        best.setdefault(row.caption, row)
    return list(best.values())
