"""What came of every input of a run, and whether each of them is accounted for.

    for problem in unaccounted(run): print(problem)

Sums can agree where an element was lost and another one doubled. So a run also stores
what came of each video (`videos/`) and of each seed image (`seeds/`) by its id, and
`inspect --verify` joins these tables with the results and the dead letters.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from clipseed.elements import ASR, PSEUDOLABEL, TRANSFERRED
from clipseed.errors import DeadLetter

if TYPE_CHECKING:
    from clipseed.run.reader import Run

# Whose dead letters say why a video has no frame, or no caption.
_STAGES = {
    TRANSFERRED: frozenset({"probe", "extract_frames"}),
    PSEUDOLABEL: frozenset({"probe", "extract_frames"}),
    ASR: frozenset({"transcribe"}),
}


class VideoOutcome(NamedTuple):
    """What came of one video that passed the filters; a row of `videos/`.

    Attributes:
        video_id: of the video.
        video: as the corpus names it, which is the key of its dead letters.
        listed: how often the corpus lists it under this name: once.
        parts: that it was split into; 0 if it could not be.
        sampled: parts of it that were sampled, with frames or without.
        frames: sampled and undamaged; captions, if the run is captioned by speech.
        damages: places where it is damaged, or why it was left out; each has a dead
            letter.
    """

    video_id: str
    video: str
    listed: int
    parts: int
    sampled: int
    frames: int
    damages: int


class SeedOutcome(NamedTuple):
    """What came of the image of a seed; a row of `seeds/`.

    Attributes:
        seed_id: of the image; "" if it could not be loaded. A reference that names
            different images in different tables has a row for each.
        image: as the seeds name it, which is the key of its dead letters.
        rows: rows of the seeds that name it.
        loaded: rows of them that became seeds.
        dropped: rows of them that became dead letters.
        embedded: embeddings made of it, or brought along; 0 where another name of the
            same image was embedded, or an external index was given.
    """

    seed_id: str
    image: str
    rows: int
    loaded: int
    dropped: int
    embedded: int


def unaccounted(run: "Run") -> Iterator[str]:
    """Yield every input that has neither a result nor a dead letter, in words.

    Results without an input, and dead letters of inputs that nobody listed, are
    problems as well. Takes memory for the ids of all inputs.

    Raises:
        InputError: `not_mined` or `damaged_run`.
    """
    rejected = _keys_by_stage(run.dead_letters())
    videos, seeds = list(run.videos()), list(run.seeds())
    explained = _keys(rejected, _STAGES[run.mining.source])
    yield from _lost_videos(videos, explained)
    embeds_seeds = run.mining.config.get("index") is None
    yield from _lost_seeds(seeds, rejected, embeds_seeds)
    names = {row.video for row in videos}
    for key in sorted(explained - names):
        yield f"a dead letter names a video that was not listed: {key}"
    names = {row.image for row in seeds}
    for key in sorted(_keys(rejected, {"load_seeds", "embed_seeds"}) - names):
        yield f"a dead letter names a seed image that no row names: {key}"
    yield from _stray_results(run, videos, seeds)


def _keys_by_stage(dead_letters: Iterable[DeadLetter]) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for dead_letter in dead_letters:
        keys.setdefault(dead_letter.stage, set()).add(dead_letter.key)
    return keys


def _keys(rejected: Mapping[str, set[str]], stages: Iterable[str]) -> set[str]:
    return set().union(*(rejected.get(stage, set()) for stage in stages))


def _lost_videos(videos: Iterable[VideoOutcome], explained: set[str]) -> Iterator[str]:
    for row in videos:
        name = f"video {row.video_id} ({row.video})"
        if row.listed != 1:
            yield f"{name} was listed {row.listed} times"
        if row.parts != row.sampled:
            yield f"{name} has {row.parts} parts, of which {row.sampled} were sampled"
        if (row.damages or not row.frames) and row.video not in explained:
            what = "is damaged" if row.frames else "has no frame"
            yield f"{name} {what} and has no dead letter"


def _lost_seeds(
    seeds: Iterable[SeedOutcome],
    rejected: Mapping[str, set[str]],
    embeds_seeds: bool,
) -> Iterator[str]:
    rows = list(seeds)
    embedded = {row.seed_id for row in rows if row.embedded}
    # The dead letter of an image has the first of its names.
    failed = rejected.get("embed_seeds", set())
    explained = embedded | {row.seed_id for row in rows if row.image in failed}
    for row in rows:
        name = f"seed {row.seed_id or 'without an id'} ({row.image})"
        if row.rows != row.loaded + row.dropped:
            yield (
                f"{name} has {row.rows} rows, of which {row.loaded} were loaded and "
                f"{row.dropped} dropped"
            )
        if row.dropped and row.image not in rejected.get("load_seeds", set()):
            yield f"{name} was dropped and has no dead letter"
        if row.loaded and embeds_seeds and row.seed_id not in explained:
            yield f"{name} is not in the index and has no dead letter"


def _stray_results(
    run: "Run", videos: Iterable[VideoOutcome], seeds: Iterable[SeedOutcome]
) -> Iterator[str]:
    """Yield results whose video showed no frame, or whose seed was not loaded."""
    shown = {row.video_id for row in videos if row.frames}
    loaded = {row.seed_id for row in seeds}
    matched, captioned = set(), set()
    for match in run.matches():
        matched.add(match.video_id)
    for pair in run.pairs():
        matched.add(pair.video_id)
        if pair.source == TRANSFERRED:
            captioned.add(pair.seed_id)
    for video_id in sorted(matched - shown):
        yield f"there are matches of video {video_id}, of which there is no frame"
    for seed_id in sorted(captioned - loaded):
        yield f"there are pairs of seed {seed_id}, which was not loaded"
