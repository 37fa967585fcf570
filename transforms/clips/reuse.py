"""Clips of a base run, copied with the captions that they have now."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clipseed.elements import ClipCaption
from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.clip_record import Caption, ClipRecord, decode, video_of
from clipseed.run.reader import Run
from clipseed.run.tfrecord import read_records
from transforms.matches.pairs import captions_of_clip


class BaseClips:
    """The records of one shard, asked for by video in the order of the shard.

    Attributes:
        run: that the shard is of.
    """

    def __init__(self, path: str, run: Run) -> None:
        self.run = run
        self._records = _with_video(path)
        self._next = next(self._records, None)

    def of_video(self, video_id: str) -> Iterator[ClipRecord]:
        """Yield the clips of a video; skip those of videos before it."""
        while self._next is not None and self._next[0] <= video_id:
            found, data = self._next
            if found == video_id:
                yield decode(data)
            self._next = next(self._records, None)


@contextlib.contextmanager
def open_shard(run: Run | None, path: str) -> Iterator[BaseClips | None]:
    """Open a file of the `clips/` of a base run, if there is one."""
    if run is None:
        yield None
        return
    with storage.localize(storage.join(run.uri, path)) as local_path:
        yield BaseClips(local_path, run)


def captions_from(matches: Sequence[ClipCaption]) -> tuple[Caption, ...]:
    """Return the captions of a clip's record."""
    return tuple(
        Caption(
            m.caption, m.seed_id, m.image, m.similarity, m.rank, m.time_us, m.source
        )
        for m in matches
    )


def recaption(
    clip: ClipRecord, matches: Sequence[ClipCaption]
) -> tuple[ClipRecord, list[ClipCaption]]:
    """Return the clip with its matches that are selected now, and its captions."""
    times = {match.time_us for match in matches} & set(clip.times_us)
    rows = captions_of_clip(match for match in matches if match.time_us in times)
    captions = captions_from(rows)
    return replace(clip, times_us=tuple(sorted(times)), captions=captions), rows


def _with_video(path: str) -> Iterator[tuple[str, bytes]]:
    try:
        for data in read_records(path):
            yield video_of(data), data
    except InputError as error:
        # A dead letter would hide that the base run is damaged.
        raise RuntimeError(f"the base run is damaged: {error.message}") from error
