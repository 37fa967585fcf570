"""One budget of time and bytes for a video over all its parts, in one worker.

However many parts a header declares, and whatever an index points at, a video costs no
more than it would take to watch, and to read a few times over. Its frames need no
budget: an instant has one frame at most, a frame answers many, and instants lie where
the file has packets and before `--max_duration_s`.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass

# Videos that were begun; those before them are done.
_REMEMBERED = 1000
# How often a file may be read to find out what is in it, and again for each part: some
# formats have no index, and a part of theirs is reached by reading from the front.
PASSES, PASSES_PER_PART = 8, 2
# Small files are read again and again where their header is looked for.
_FREE_BYTES = 16 << 20


def most_bytes(path: str, parts: int) -> int:
    """Return how many bytes of a file may be read for some parts or clips of it."""
    size_bytes = os.path.getsize(path) if os.path.exists(path) else 0
    return _FREE_BYTES + (PASSES + PASSES_PER_PART * parts) * size_bytes


@dataclass
class _Spent:
    parts: int = 0
    beyond_s: float = 0.0
    read_bytes: int = 0


class VideoBudget:
    """What each video may still cost.

    A part may take as long as it lasts. What it takes beyond that comes out of the
    video's limit. Each part may read the file as often as a format without an index
    needs; what it leaves is there for later parts.
    """

    def __init__(self, limit_s: float, part_s: float) -> None:
        self._limit_s = limit_s
        self._part_s = part_s
        self._videos: OrderedDict[str, _Spent] = OrderedDict()

    def limit_s(self, video_id: str) -> float:
        """Return how long the next part of a video may take."""
        left_s = self._limit_s - self._of(video_id).beyond_s
        return min(self._limit_s, max(left_s, 0.0) + self._part_s)

    def max_bytes(self, video_id: str, path: str) -> int:
        """Return how many bytes of a video's file its next part may read."""
        spent = self._of(video_id)
        return max(0, most_bytes(path, spent.parts + 1) - spent.read_bytes)

    def spend(self, video_id: str, taken_s: float, read_bytes: int) -> None:
        """Count what a part took."""
        spent = self._of(video_id)
        spent.parts += 1
        spent.beyond_s += max(0.0, taken_s - self._part_s)
        spent.read_bytes += read_bytes

    def _of(self, video_id: str) -> _Spent:
        spent = self._videos.setdefault(video_id, _Spent())
        self._videos.move_to_end(video_id)
        if len(self._videos) > _REMEMBERED:
            self._videos.popitem(last=False)
        return spent
