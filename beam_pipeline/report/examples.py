"""Which of a run's pairs are shown, joined with their clips and seed images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import Any

from PIL import Image

from beam_pipeline.report.contact_sheet import (
    Example,
    pick_frames,
    printable,
    thumbnail,
)
from clipseed.elements import SeedRow
from clipseed.errors import DeadLetter, InputError
from clipseed.hashing import content_id
from clipseed.io import storage
from clipseed.io.http import FetchConfig
from clipseed.run.clip_record import ClipRecord, decode
from clipseed.run.tfrecord import read_records
from transforms.media.images import ImageLimits, decode_image
from transforms.run.shards import shard_name, shard_of
from transforms.seeds.formats import SeedsConfig, list_seed_files, read_seeds
from transforms.seeds.load_images import read_image

_SHOWN_PAIRS = 10
_VIDEO_CHARS = 48

Row = dict[str, Any]


def survey(batches: Iterable[list[Row]], count: int) -> tuple[list[Row], list[Row]]:
    """The first pairs, and `count` to look at; holds one batch at a time."""
    first: list[Row] = []
    chosen: list[Row] = []
    for rows in batches:
        first += rows[: _SHOWN_PAIRS - len(first)]
        chosen = choose([*chosen, *rows], count)
    return first, chosen


def choose(pairs: Sequence[Row], count: int) -> list[Row]:
    """Pairs to look at: half the best, half the nearest to the threshold.

    Each half takes a pair a seed as long as there are seeds.
    """
    ordered = sorted(
        pairs,
        key=lambda r: (-r["similarity"], r["seed_id"], r["clip_id"], r["caption"]),
    )
    best: dict[str, Row] = {}
    weakest: dict[str, Row] = {}
    for row in ordered:
        best.setdefault(row["seed_id"], row)
    for row in reversed(ordered):
        weakest.setdefault(row["seed_id"], row)
    chosen = list(best.values())[: (count + 1) // 2]
    for row in chain(weakest.values(), reversed(ordered)):
        if len(chosen) < count and row not in chosen:
            chosen.append(row)
    return sorted(chosen, key=ordered.index)


def load_examples(
    run_dir: str, config: Row, rows: Sequence[Row], warn: Callable[[str], object]
) -> list[Example]:
    """Joins pairs with their clips and seed images; clips are let go one by one.

    Args:
        run_dir: the run directory.
        config: its settings, out of `run.json`.
        rows: of `pairs/`.
        warn: is told which seed images cannot be loaded, and why.

    Raises:
        InputError: `damaged_shard`, `bad_record` or `missing_clip`.
    """
    seeds = load_seed_images(config, rows, warn)
    made: dict[int, Example] = {}
    shards = [shard_of(row["video_id"], config["num_shards"]) for row in rows]
    by_shard = sorted(range(len(rows)), key=lambda i: shards[i])
    for shard, group in groupby(by_shard, key=lambda i: shards[i]):
        waiting: dict[str, list[int]] = {}
        for i in group:
            waiting.setdefault(rows[i]["clip_id"], []).append(i)
        name = shard_name("clips", shard, config["num_shards"], ".tfrecord")
        for clip in _clips(storage.join(run_dir, f"clips/{name}"), set(waiting)):
            for i in waiting[clip.clip_id]:
                made[i] = _example(rows[i], clip, seeds.get(rows[i]["seed_id"]))
    return [made[i] for i in range(len(rows))]


def _clips(uri: str, ids: set[str]) -> Iterator[ClipRecord]:
    """The clips of these ids; reads no further than the last of them."""
    with storage.localize(uri) as path:
        for data in read_records(path):
            clip = decode(data)
            if clip.clip_id in ids:
                ids.discard(clip.clip_id)
                yield clip
            if not ids:
                return
    raise InputError(
        "missing_clip", f"{uri} lacks clip {min(ids)} of pairs/: mine again"
    )


def _example(row: Row, clip: ClipRecord, seed: Image.Image | None) -> Example:
    video = printable(row["video"])
    if len(video) > _VIDEO_CHARS:  # Names differ at their ends.
        video = "…" + video[1 - _VIDEO_CHARS :]
    facts = (
        f"similarity {row['similarity']:.3f}, rank {row['rank']}, "
        f"matched at {clock(row['time_us'])}",
        video,
        f"clip {span(row)}, sound: {row['sound']}",
    )
    frames, matched = pick_frames(clip, row["time_us"])
    return Example(row["caption"], facts, seed, frames, matched, clip.samples)


def load_seed_images(
    config: Row, rows: Sequence[Row], warn: Callable[[str], object]
) -> dict[str, Image.Image]:
    """Thumbnails of the pairs' seeds, by seed id, as far as they can still be loaded.

    An image that has changed since is left out: it is not the seed any more.
    """
    wanted = {row["seed_id"] for row in rows}
    references = {row["image"] for row in rows}
    fetch = FetchConfig(allow_private=config["allow_private"])
    found: dict[str, Image.Image] = {}
    tried: set[tuple[str, int]] = set()
    try:
        for seed in _seed_rows(config):
            place = seed.uri, seed.offset_bytes
            if seed.reference in references and seed.uri and place not in tried:
                tried.add(place)
                try:
                    found |= _load_seed(seed, fetch, wanted)
                except InputError as reject:
                    warn(f"seed image {seed.reference}: {reject.message}")
            if len(found) == len(wanted):
                break
    except InputError as reject:
        warn(f"the seeds cannot be read any more: {reject.message}")
    return found


def _seed_rows(config: Row) -> Iterator[SeedRow]:
    names = ("seeds_format", "image_column", "caption_column")
    seeds_config = SeedsConfig(*(config[name] for name in names))
    for uri in list_seed_files(config["seeds"]):
        rows = read_seeds(uri, seeds_config)
        yield from (row for row in rows if not isinstance(row, DeadLetter))


def _load_seed(
    row: SeedRow, fetch: FetchConfig, wanted: set[str]
) -> dict[str, Image.Image]:
    """An image under its seed's id; raises InputError when it is none of the wanted."""
    data = read_image(row, fetch)
    # A seed is named by its image, or by its reference if that came embedded.
    names = {content_id(data), content_id(row.reference)} & wanted
    if not names:
        raise InputError("changed_image", f"{row.uri} has changed since the run")
    image = thumbnail(Image.fromarray(decode_image(data, ImageLimits())))
    return dict.fromkeys(names, image)


def span(row: Row) -> str:
    """Where a pair's clip begins and ends."""
    return f"{clock(row['start_us'])}-{clock(row['end_us'])}"


def clock(time_us: int) -> str:
    """A time as m:ss.s: `clock(61_500_000) == "1:01.5"`."""
    minutes, tenths = divmod(round(time_us / 100_000), 600)
    return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"
