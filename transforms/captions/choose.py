"""The choosing step: captions of a clip's frames to the captions of the clip.

    chosen, report = choose(captions, ChoiceRule(clip_us=10_000_000))

Clips follow each other from the start of a video. Of the captions of a clip's frames
those that say nearly the same count as one, and the best are chosen: the likeliest, or
those that agree most with the others.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import apache_beam as beam

from clipseed.elements import PSEUDOLABEL, ClipCaption
from transforms.captions.frame_captions import FrameCaption

Choice = Literal["likelihood", "consensus"]
# Captions that share more of their words than this say nearly the same.
_NEARLY_THE_SAME = 0.8
_WORD = re.compile(r"\w+")


class ChoiceRule(NamedTuple):
    """How captions of clips are chosen.

    Attributes:
        clip_us: length of a clip.
        choice: what makes a caption the best.
        captions: chosen per clip at most.
        min_score: captions below it are not considered.
    """

    clip_us: int
    choice: Choice = "likelihood"
    captions: int = 1
    min_score: float = 0.0


class ChoiceReport(NamedTuple):
    """What became of the captions of a clip's frames.

    Attributes:
        read: how many there were.
        chosen: captions of the clip.
        below_min_score: not considered.
        nearly_the_same: as a better one.
        not_among_the_best: the rest.
    """

    read: int
    chosen: int
    below_min_score: int
    nearly_the_same: int
    not_among_the_best: int


def choose(
    captions: Iterable[FrameCaption], rule: ChoiceRule
) -> tuple[list[ClipCaption], ChoiceReport]:
    """Choose the captions of one clip, best first.

    Args:
        captions: of its frames, in any order.
        rule: how to choose.

    Returns:
        the captions, each with its likelihood per token as its score.
    """
    read = sorted(captions, key=lambda c: (c.time_us, c.text))
    scored = [c for c in read if c.score >= rule.min_score]
    ranked = [c for _, c in sorted(zip(_ranks(scored, rule), scored, strict=True))]
    distinct: list[FrameCaption] = []
    for caption in ranked:
        if all(agreement(caption.text, d.text) < _NEARLY_THE_SAME for d in distinct):
            distinct.append(caption)
    best = distinct[: rule.captions]
    report = ChoiceReport(
        len(read),
        len(best),
        len(read) - len(scored),
        len(ranked) - len(distinct),
        len(distinct) - len(best),
    )
    return [_of_clip(c, rank, rule) for rank, c in enumerate(best, 1)], report


def agreement(one: str, other: str) -> float:
    """Return the share of words that two captions have in common, from 0 to 1.

    Example:
        `agreement("a dog runs", "A dog sits.") == 2 / 3`
    """
    words = [Counter(_WORD.findall(text.lower())) for text in (one, other)]
    total = sum(count.total() for count in words)
    return 2 * (words[0] & words[1]).total() / total if total else float(one == other)


def _ranks(captions: Sequence[FrameCaption], rule: ChoiceRule) -> list[Any]:
    """Return what sorts the best caption first; of equal ones the earlier comes."""
    ranks = []
    for caption in captions:
        agreed = 0.0
        if rule.choice == "consensus":
            agreed = sum(agreement(caption.text, other.text) for other in captions)
        ranks.append((-agreed, -caption.score, caption.time_us, caption.text))
    return ranks


def _of_clip(caption: FrameCaption, rank: int, rule: ChoiceRule) -> ClipCaption:
    start_us = caption.time_us // rule.clip_us * rule.clip_us
    return ClipCaption(
        seed_id="",
        image="",
        caption=caption.text,
        rank=rank,
        similarity=caption.score,
        time_us=caption.time_us,
        video=caption.video,
        source=PSEUDOLABEL,
        start_us=start_us,
        end_us=start_us + rule.clip_us,
    )


@dataclass(eq=False)
class ChooseCaptions(beam.PTransform):
    """`FrameCaption`s to `ClipCaption`s; a `ChoiceReport` per clip under `reports`.

    Attributes:
        rule: how to choose.
    """

    rule: ChoiceRule

    def expand(self, captions: beam.PCollection) -> Any:
        """Bring the captions of each clip together, and choose."""
        rule = self.rule

        def clip_of(caption: FrameCaption) -> tuple[tuple[str, int], FrameCaption]:
            clip = caption.video.video_id, caption.time_us // rule.clip_us
            return clip, caption

        return (
            captions
            | "KeyByClip"
            >> beam.Map(clip_of).with_output_types(tuple[tuple[str, int], FrameCaption])
            | "ByClip" >> beam.GroupByKey()
            | "Choose"
            >> beam.FlatMap(_chosen, rule)
            .with_output_types(ClipCaption)
            .with_outputs("reports", main="captions")
        )


def _chosen(
    clip: tuple[tuple[str, int], Iterable[FrameCaption]], rule: ChoiceRule
) -> Iterator[Any]:
    captions, report = choose(clip[1], rule)
    yield from captions
    yield beam.pvalue.TaggedOutput("reports", report)
