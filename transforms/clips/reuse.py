"""Clips of an older run, copied with the captions that they have now."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.clip_record import Caption, ClipRecord, decode, video_of
from clipseed.run.tfrecord import read_records
from transforms.matches.pairs import Selected, caption_rows
from transforms.run.merge import BaseRun


class BaseClips:
    """One shard's records, asked for by video in the order in which they lie there.

    Attributes:
        run: that the shard is of.
    """

    def __init__(self, path: str, run: BaseRun) -> None:
        self.run = run
        self._records = _with_video(path)
        self._next = next(self._records, None)

    def of_video(self, video_id: str) -> Iterator[ClipRecord]:
        """Yields a video's clips; those of videos before it are passed over."""
        while self._next is not None and self._next[0] <= video_id:
            found, data = self._next
            if found == video_id:
                yield decode(data)
            self._next = next(self._records, None)


@contextlib.contextmanager
def open_shard(run: BaseRun | None, path: str) -> Iterator[BaseClips | None]:
    """Opens a file of an older run's `clips/`, if there is such a run."""
    if run is None:
        yield None
        return
    with storage.localize(storage.join(run.run_dir, path)) as local_path:
        yield BaseClips(local_path, run)


def recaption(
    clip: ClipRecord, rows: Sequence[Selected]
) -> tuple[ClipRecord, list[Selected]]:
    """The clip with those of its matches that are chosen now, and what captions it."""
    times = {row.time_us for row in rows} & set(clip.times_us)
    captions = caption_rows(row for row in rows if row.time_us in times)
    written = tuple(
        Caption(r.caption, r.seed_id, r.image, r.similarity, r.rank, r.time_us)
        for r in captions
    )
    return replace(clip, times_us=tuple(sorted(times)), captions=written), captions


def _with_video(path: str) -> Iterator[tuple[str, bytes]]:
    try:
        for data in read_records(path):
            yield video_of(data), data
    except (
        InputError
    ) as reject:  # A dead letter would hide that the older run is damaged.
        raise RuntimeError(f"the older run is damaged: {reject.message}") from reject
