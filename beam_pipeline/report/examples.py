"""Which of a run's pairs are shown, joined with their clips and seed images."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from typing import Any

from PIL import Image

from beam_pipeline.report.contact_sheet import (
    CELL_PX,
    Example,
    note,
    pick_frames,
    printable,
)
from clipseed.elements import TRANSFERRED, Pair, SeedRow
from clipseed.errors import DeadLetter, InputError
from clipseed.hashing import content_id
from clipseed.io.http import FetchConfig
from clipseed.run.clip_record import ClipRecord
from clipseed.run.files import CLIPS
from clipseed.run.reader import Run, read_clips_file
from transforms.media.images import ImageLimits
from transforms.media.isolation.worker_process import Isolation
from transforms.media.resize_picture import load_thumbnail
from transforms.seeds.formats import SeedsConfig, list_seed_files, read_seeds

_SHOWN_PAIRS = 10
_LIMIT_S = 60.0
_VIDEO_CHARS = 48
_BATCH = 4096


def survey(pairs: Iterable[Pair], count: int) -> tuple[list[Pair], list[Pair]]:
    """Return the first pairs, and `count` to look at; hold one batch at a time."""
    remaining = iter(pairs)
    first: list[Pair] = []
    chosen: list[Pair] = []
    while batch := list(islice(remaining, _BATCH)):
        first += batch[: _SHOWN_PAIRS - len(first)]
        chosen = choose([*chosen, *batch], count)
    return first, chosen


def choose(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Return pairs to look at: half the best, half the nearest to the threshold.

    Each half takes one pair per seed as long as there are seeds; captions of other
    sources count for one each.
    """
    ordered = sorted(
        pairs, key=lambda p: (-p.similarity, p.seed_id, p.clip_id, p.caption)
    )
    best: dict[str, Pair] = {}
    weakest: dict[str, Pair] = {}
    for pair in ordered:
        best.setdefault(pair.seed_id or pair.caption, pair)
    for pair in reversed(ordered):
        weakest.setdefault(pair.seed_id or pair.caption, pair)
    chosen = list(best.values())[: (count + 1) // 2]
    for pair in chain(weakest.values(), reversed(ordered)):
        if len(chosen) < count and pair not in chosen:
            chosen.append(pair)
    return sorted(chosen, key=ordered.index)


def load_examples(
    run: Run, pairs: Sequence[Pair], warn: Callable[[str], object]
) -> list[Example]:
    """Join pairs with their clips and seed images; clips are let go one by one.

    Args:
        run: that the pairs are of.
        pairs: to be drawn.
        warn: is told which seed images cannot be loaded, and why.

    Raises:
        InputError: `damaged_shard`, `bad_record` or `missing_clip`.
    """
    matched = [pair for pair in pairs if pair.source == TRANSFERRED]
    seeds = load_seed_images(run.mining.config, matched, warn) if matched else {}
    made: dict[int, Example] = {}
    shards = [run.uri_for(CLIPS, pair.video_id) for pair in pairs]
    by_shard = sorted(range(len(pairs)), key=lambda i: shards[i])
    for shard, group in groupby(by_shard, key=lambda i: shards[i]):
        waiting: dict[str, list[int]] = {}
        for i in group:
            waiting.setdefault(pairs[i].clip_id, []).append(i)
        for clip in _clips(shard, set(waiting)):
            for i in waiting[clip.clip_id]:
                made[i] = _example(pairs[i], clip, seeds.get(pairs[i].seed_id))
    return [made[i] for i in range(len(pairs))]


def _clips(uri: str, ids: set[str]) -> Iterator[ClipRecord]:
    """Yield the clips of these ids; read no further than the last of them."""
    for clip in read_clips_file(uri):
        if clip.clip_id in ids:
            ids.discard(clip.clip_id)
            yield clip
        if not ids:
            return
    raise InputError(
        "missing_clip", f"{uri} lacks clip {min(ids)} of pairs/: mine again"
    )


def _example(pair: Pair, clip: ClipRecord, seed: Image.Image | None) -> Example:
    video = printable(pair.video)
    if len(video) > _VIDEO_CHARS:  # Names differ at their ends.
        video = "…" + video[1 - _VIDEO_CHARS :]
    by_seed = (
        f"similarity {pair.similarity:.3f}, rank {pair.rank}, "
        f"matched at {clock(pair.time_us)}"
    )
    by_source = f"{pair.source}, score {pair.similarity:.3f}, at {clock(pair.time_us)}"
    facts = (
        by_seed if pair.source == TRANSFERRED else by_source,
        video,
        f"clip {clip_times(pair)}, sound: {pair.sound}",
    )
    if pair.source != TRANSFERRED:
        seed = note("no seed image")
    frames, matched = pick_frames(clip, pair.time_us)
    return Example(pair.caption, facts, seed, frames, matched, clip.samples)


def load_seed_images(
    config: Mapping[str, Any], pairs: Sequence[Pair], warn: Callable[[str], object]
) -> dict[str, Image.Image]:
    """Return thumbnails of the seeds of pairs by id, those that can still be loaded.

    An image that has changed since is left out: it is not the seed any more.
    """
    wanted = {pair.seed_id for pair in pairs}
    references = {pair.image for pair in pairs}
    fetch = FetchConfig(allow_private=config["allow_private"])
    isolation = Isolation()
    found: dict[str, Image.Image] = {}
    tried: set[tuple[str, int]] = set()
    try:
        for seed in _seed_rows(config):
            place = seed.uri, seed.offset_bytes
            if seed.reference in references and seed.uri and place not in tried:
                tried.add(place)
                try:
                    found |= _load_seed(seed, fetch, wanted, isolation)
                except InputError as error:
                    warn(f"seed image {seed.reference}: {error.message}")
            if len(found) == len(wanted):
                break
    except InputError as error:
        warn(f"the seeds cannot be read any more: {error.message}")
    finally:
        isolation.close()
    return found


def _seed_rows(config: Mapping[str, Any]) -> Iterator[SeedRow]:
    names = ("seeds_format", "image_column", "caption_column", "allow_outside")
    seeds_config = SeedsConfig(*(config[name] for name in names))
    for uri in list_seed_files(config["seeds"]):
        rows = read_seeds(uri, seeds_config)
        yield from (row for row in rows if not isinstance(row, DeadLetter))


def _load_seed(
    row: SeedRow, fetch: FetchConfig, wanted: set[str], isolation: Isolation
) -> dict[str, Image.Image]:
    """Return an image under the id of its seed.

    Raises:
        InputError: `changed_image` if it is none of the wanted seeds.
    """
    from transforms.seeds.load_images import read_image  # imports Beam: seconds

    data = read_image(row, fetch)
    # A seed is named by its image, or by its reference if that came embedded.
    names = {content_id(data), content_id(row.reference)} & wanted
    if not names:
        raise InputError("changed_image", f"{row.uri} has changed since the run")
    decode = (load_thumbnail, data, ImageLimits(), CELL_PX)
    (image,) = isolation.iterate(*decode, limit_s=_LIMIT_S)
    return dict.fromkeys(names, Image.fromarray(image))


def clip_times(pair: Pair) -> str:
    """Return where the clip of a pair begins and ends."""
    return f"{clock(pair.start_us)}-{clock(pair.end_us)}"


def clock(time_us: int) -> str:
    """Return a time as m:ss.s: `clock(61_500_000) == "1:01.5"`."""
    minutes, tenths = divmod(round(time_us / 100_000), 600)
    return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"
