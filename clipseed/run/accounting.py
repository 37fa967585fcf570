"""What a run counts, stage by stage, and whether the sums are right.

    counts = Counts({VIDEOS: 9, VIDEOS_MINED: 7, VIDEOS_FAILED: 2})
    counts[VIDEOS_MINED]                      # 7
    [s for s in account_for(counts) if not s.balanced]  # []

At every stage what comes in either goes out or is dropped for a reason; a stage whose
sums differ has lost or doubled elements.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clipseed.elements import ASR, PSEUDOLABEL, TRANSFERRED

_IN, _OUT, _DROPPED, _DEAD_LETTERS = "in", "out", "dropped", "dead_letters"


class Counter(NamedTuple):
    """What is counted.

    Attributes:
        stage: that counts it.
        kind: `in`, `out`, `dropped`, `dead_letters`, or a figure of the stage.
        reason: why something was dropped, or another division of the kind; "" if the
            kind has none.
    """

    stage: str
    kind: str
    reason: str = ""


SEED_ROWS = Counter("read_seeds", _OUT)
SEEDS = Counter("load_seeds", _OUT)
# The sum of hashes that names the seeds: not a figure.
SEEDS_FINGERPRINT = Counter("load_seeds", "fingerprint")
IMAGES = Counter("embed_seeds", _IN)
IMAGES_EMBEDDED = Counter("embed_seeds", _OUT)
VIDEOS = Counter("list_videos", _OUT)
VIDEOS_MINED = Counter("extract_frames", _OUT)
VIDEOS_FAILED = Counter("extract_frames", _DROPPED, "failed")
VIDEOS_BROKEN = Counter("extract_frames", "broken_videos")
PARTS = Counter("extract_frames", "parts")
PARTS_REUSED = Counter("extract_frames", "parts_reused")
FRAMES = Counter("embed_frames", _IN)
FRAMES_EMBEDDED = Counter("embed_frames", _OUT)
VIDEOS_TRANSCRIBED = Counter("transcribe", _OUT)
UTTERANCES = Counter("read_transcripts", _IN)
UTTERANCES_USED = Counter("read_transcripts", _OUT)
FRAMES_TO_CAPTION = Counter("caption_frames", _IN)
FRAMES_CAPTIONED = Counter("caption_frames", _OUT)
CAPTIONS = Counter("choose_captions", _IN)
CAPTIONS_CHOSEN = Counter("choose_captions", _OUT)
CAPTIONS_BELOW_MIN_SCORE = Counter("choose_captions", _DROPPED, "below_min_score")
CAPTIONS_NEARLY_THE_SAME = Counter("choose_captions", _DROPPED, "nearly_the_same")
CAPTIONS_NOT_AMONG_THE_BEST = Counter("choose_captions", _DROPPED, "not_among_the_best")
MATCHES = Counter("select_matches", _IN)
BELOW_THRESHOLD = Counter("select_matches", _DROPPED, "below_threshold")
NOT_AMONG_THE_BEST = Counter("select_matches", _DROPPED, "not_among_the_best")
SELECTED = Counter("select_matches", _OUT)
SEEDS_MATCHED = Counter("select_matches", "seeds")
SEEDS_WITHOUT_CAPTION = Counter("select_matches", "seeds_without_caption")
# Places to cut, such as matched frames to cut around, and those that a clip shows.
CUTS = Counter("write_clips", _IN)
CUTS_WRITTEN = Counter("write_clips", _OUT)
CLIPS = Counter("write_clips", "clips")
CLIPS_US = Counter("write_clips", "clips_us")
PAIRS = Counter("write_clips", "pairs")


def clips_with_sound(verdict: str) -> Counter:
    """Return the counter of clips whose sound has this verdict."""
    return Counter("write_clips", "sound", verdict)


def dead_letters(stage: str, reason: str) -> Counter:
    """Return the counter of a stage's dead letters of one reason."""
    return Counter(stage, _DEAD_LETTERS, reason)


@dataclass(frozen=True)
class Counts:
    """The sums of a run; what was never counted is 0.

    Attributes:
        sums: by counter.
    """

    sums: Mapping[Counter, int]

    def __getitem__(self, counter: Counter) -> int:
        """Return a sum."""
        return self.sums.get(counter, 0)

    def by_reason(self, stage: str, kind: str) -> dict[str, int]:
        """Return the sums of a kind by reason, those that are not 0."""
        return {
            counter.reason: count
            for counter, count in sorted(self.sums.items())
            if (counter.stage, counter.kind) == (stage, kind) and count
        }

    def dead_letters_of(self, *stages: str) -> int:
        """Return the number of dead letters of some stages."""
        return sum(
            sum(self.by_reason(stage, _DEAD_LETTERS).values()) for stage in stages
        )

    @property
    def matches_above_threshold(self) -> int:
        """Matches with a similarity above τ, chosen or not."""
        return self[MATCHES] - self[BELOW_THRESHOLD]

    @property
    def sound_verdicts(self) -> dict[str, int]:
        """Clips by the verdict on their sound."""
        stage, kind, _ = clips_with_sound("")
        return self.by_reason(stage, kind)

    def of_stages(self, stages: Iterable[str]) -> "Counts":
        """Return the sums of some stages."""
        chosen = set(stages)
        return Counts({c: n for c, n in self.sums.items() if c.stage in chosen})

    def as_json(self) -> dict[str, Any]:
        """Return `{stage: {kind: sum, or {reason: sum}}}`, in order of names."""
        tree: dict[str, Any] = {}
        for (stage, kind, reason), count in sorted(self.sums.items()):
            kinds = tree.setdefault(stage, {})
            if reason:
                kinds.setdefault(kind, {})[reason] = count
            else:
                kinds[kind] = count
        return tree

    @classmethod
    def from_json(cls, tree: Mapping[str, Mapping[str, Any]]) -> "Counts":
        """Read what `as_json` returned.

        Raises:
            ValueError: it is not of that form.
        """
        sums: dict[Counter, int] = {}
        for stage, kinds in tree.items():
            if not isinstance(kinds, dict):
                raise ValueError(f"the counts of {stage} are {kinds!r}")
            for kind, found in kinds.items():
                by_reason = found if isinstance(found, dict) else {"": found}
                for reason, count in by_reason.items():
                    if type(count) is not int:
                        raise ValueError(f"the count of {stage}.{kind} is {count!r}")
                    sums[Counter(stage, kind, reason)] = count
        return cls(sums)


@dataclass(frozen=True)
class StageAccount:
    """The sums of one stage.

    Attributes:
        stage: its name.
        inputs: elements that came in.
        outputs: elements that went out.
        dropped: those that did not, by reason.
    """

    stage: str
    inputs: int
    outputs: int
    dropped: Mapping[str, int]

    @property
    def balanced(self) -> bool:
        """Whether nothing was lost or doubled."""
        return self.inputs == self.outputs + sum(self.dropped.values())

    def as_json(self) -> dict[str, Any]:
        """Return the row of `run.json`."""
        return {
            "stage": self.stage,
            "in": self.inputs,
            "out": self.outputs,
            "dropped": dict(self.dropped),
            "balanced": self.balanced,
        }


class _Stage(NamedTuple):
    """How a stage is accounted for.

    Attributes:
        name: of the stage.
        inputs: counts what comes in; None if the stage itself reads files, so that
            only what becomes of their rows can be counted.
        outputs: counts what goes out.
        drop_stages: stages each dead letter of which is one dropped element.
    """

    name: str
    inputs: Counter | None
    outputs: Counter
    drop_stages: tuple[str, ...] = ()


_LIST_VIDEOS = _Stage("list_videos", None, VIDEOS, ("list_videos", "filter_videos"))
# A video of several parts may have several dead letters, and be mined all the same.
_EXTRACT_FRAMES = _Stage("extract_frames", VIDEOS, VIDEOS_MINED)
_WRITE_CLIPS = _Stage("write_clips", CUTS, CUTS_WRITTEN, ("write_clips",))
_MINING = (
    _Stage("read_seeds", None, SEED_ROWS, ("read_seeds",)),
    _Stage("load_seeds", SEED_ROWS, SEEDS, ("load_seeds",)),
    _Stage("embed_seeds", IMAGES, IMAGES_EMBEDDED, ("embed_seeds",)),
    _LIST_VIDEOS,
    _EXTRACT_FRAMES,
    _Stage("embed_frames", FRAMES, FRAMES_EMBEDDED, ("embed_frames",)),
    _Stage("select_matches", MATCHES, SELECTED),
    _WRITE_CLIPS,
)
_STAGES = {
    TRANSFERRED: _MINING,
    PSEUDOLABEL: (
        _LIST_VIDEOS,
        _EXTRACT_FRAMES,
        _Stage(
            "caption_frames", FRAMES_TO_CAPTION, FRAMES_CAPTIONED, ("caption_frames",)
        ),
        _Stage("choose_captions", CAPTIONS, CAPTIONS_CHOSEN),
        _WRITE_CLIPS,
    ),
    ASR: (
        _LIST_VIDEOS,
        _Stage("transcribe", VIDEOS, VIDEOS_TRANSCRIBED, ("transcribe",)),
        _Stage("read_transcripts", UTTERANCES, UTTERANCES_USED, ("read_transcripts",)),
        _WRITE_CLIPS,
    ),
}


def account_for(counts: Counts, source: str = TRANSFERRED) -> Iterator[StageAccount]:
    """Yield the account of each stage, in the order in which elements pass them.

    Args:
        counts: of a run.
        source: of its captions, which says what its stages are.
    """
    for stage in _STAGES[source]:
        dropped = counts.by_reason(stage.name, _DROPPED)
        for name in stage.drop_stages:
            dropped |= counts.by_reason(name, _DEAD_LETTERS)
        outputs = counts[stage.outputs]
        inputs = (
            outputs + sum(dropped.values())
            if stage.inputs is None
            else counts[stage.inputs]
        )
        yield StageAccount(stage.name, inputs, outputs, dropped)
