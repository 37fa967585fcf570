"""The instants at which frames are asked for, and the frames that answer them."""

from collections.abc import Iterable
from typing import NamedTuple

import av.video.frame


class Sampled(NamedTuple):
    """A frame that an instant asked for.

    Attributes:
        time_us: when the frame shows.
        instant_us: the first instant that it answers.
        frame: the decoded picture.
    """

    time_us: int
    instant_us: int
    frame: av.video.frame.VideoFrame


class Instants:
    """Increasing instants with a look at the next one."""

    def __init__(self, instants_us: Iterable[int]) -> None:
        self._rest = iter(instants_us)
        self.next_us = next(self._rest, None)

    def advance(self) -> int:
        """Take the next instant."""
        taken = self.next_us
        assert taken is not None
        self.next_us = next(self._rest, None)
        return taken

    def skip(self, until_us: float) -> None:
        """Pass over the instants before `until_us`."""
        while self.due(until_us):
            self.advance()

    def due(self, until_us: float) -> bool:
        """Return whether the next instant is before `until_us`."""
        return self.next_us is not None and self.next_us < until_us
