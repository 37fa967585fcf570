"""Which match is captioned how: from a seed's selected matches to captions of clips."""

from collections.abc import Iterable, Iterator

from clipseed.elements import ClipCaption, Match


def caption_matches(
    seed_id: str, captions: Iterable[tuple[str, str]], matches: Iterable[list[Match]]
) -> Iterator[ClipCaption]:
    """Yield each of a seed's selected matches with each of its captions.

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
                yield ClipCaption(
                    seed_id,
                    image,
                    caption,
                    rank,
                    match.similarity,
                    match.time_us,
                    match.video,
                )


def captions_of_clip(matches: Iterable[ClipCaption]) -> list[ClipCaption]:
    """Return what one clip is captioned with: of equal captions the most similar."""
    best: dict[str, ClipCaption] = {}
    for row in sorted(matches, key=lambda r: (-r.similarity, r.seed_id, r.time_us)):
        best.setdefault(row.caption, row)
    return list(best.values())
