"""What is said in a video, and the clips cut for it (HowTo100M's rule).

A transcript is a list of timed texts, and many of them are not captions: music notes,
names of noises, the lines that automatic captions show twice.
"""

import html
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from clipseed.elements import ASR, ClipCaption, Video
from clipseed.errors import InputError

_PAUSE_US = 100_000
# Longer ones cannot be about a clip of seconds.
_MAX_CHARS = 1000
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.,]*>|\{\\[^{}]*\}")
# "[Music]", "(applause)", "♪ la la ♪": what is heard, not what is said.
_NOISE = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|♪[^♪]*♪?|[♩♪♫♬]+|>>+")


class Utterance(NamedTuple):
    """A timed text of a transcript.

    Attributes:
        start_us: from the video's start.
        end_us: exclusive.
        lines: as in the transcript, with tags and entities.
        score: confidence of a recognizer in (0, 1]; 1 for a transcript.
    """

    start_us: int
    end_us: int
    lines: tuple[str, ...]
    score: float = 1.0


class ClipRule(NamedTuple):
    """Which clip is cut for an utterance.

    Attributes:
        min_us: shorter utterances are widened about their middle (HowTo100M's readers:
            4 s).
        max_us: longer ones get none.
        min_score: less certain ones get none.
    """

    min_us: int
    max_us: int
    min_score: float = 0.0


def spoken_text(line: str) -> str:
    """Return the words of a line, without markup, noises and music.

    Example:
        >>> spoken_text("<i>Cut</i> &amp; fold [Music]")
        'Cut & fold'
    """
    words = html.unescape(_TAG.sub("", line))
    return " ".join(_NOISE.sub(" ", words).split())


def without_repeats(utterances: Iterable[Utterance]) -> Iterator[Utterance]:
    """Yield what is said, by time; a line counts where it appears first.

    Automatic captions roll: each shows the line before it once more, without a pause.
    What is said again after one is said twice.
    """
    before: frozenset[str] = frozenset()
    shown_until_us = 0
    for utterance in sorted(utterances):
        lines = tuple(filter(None, map(spoken_text, utterance.lines)))
        if utterance.start_us > shown_until_us + _PAUSE_US:
            before = frozenset()
        new = tuple(line for line in lines if line not in before)
        if lines:
            before = frozenset(lines)
        shown_until_us = max(shown_until_us, utterance.end_us)
        if new:
            yield utterance._replace(lines=new)


def clip_caption(video: Video, said: Utterance, rule: ClipRule) -> ClipCaption:
    """Return the caption and the boundaries of an utterance's clip.

    Raises:
        InputError: `bad_times`, `too_long` or `low_score`.
    """
    start_us, end_us = said.start_us, said.end_us
    length_us, text = end_us - start_us, " ".join(said.lines)
    if start_us < 0 or length_us <= 0:
        raise InputError(
            "bad_times", f"It lasts from {start_us / 1e6:.3f} to {end_us / 1e6:.3f} s."
        )
    if length_us > rule.max_us:
        raise InputError(
            "too_long",
            f"It lasts {length_us / 1e6:.1f} s; --max_clip_s is {rule.max_us / 1e6:g}.",
        )
    if len(text) > _MAX_CHARS:
        raise InputError("too_long", f"It has {len(text)} characters of {_MAX_CHARS}.")
    if said.score < rule.min_score:
        raise InputError(
            "low_score", f"Its score is {said.score:.3f}; --min_score is higher."
        )
    if length_us < rule.min_us:
        start_us = max(0, (start_us + end_us - rule.min_us) // 2)
        end_us = start_us + rule.min_us
    caption = ClipCaption("", "", text, 1, said.score, said.start_us, video, ASR)
    return caption._replace(start_us=start_us, end_us=end_us)
