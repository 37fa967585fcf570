"""A corpus of damaged files with a few good ones among them, as `mine` is given it.

Of the damaged files three in four are videos. The others are seed images, and tables
that name images, or, where the corpus has shards, webdataset shards.
"""

import csv
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.fuzz.mutations import Mutant, mutate, mutate_text
from benchmarks.fuzz.sources import Source, make_images, make_videos, write_film
from benchmarks.fuzz.tables import make_shard, make_tables

GOOD_VIDEOS = ("good_1.mp4", "good_2.mp4", "good_3.mp4")
# What may be beside videos and is not one: a file of such a name is not an input.
_SIDE_FILES = (".txt",)
_SHARE_OF_VIDEOS = 0.75


class Corpus(NamedTuple):
    """A corpus on disk.

    Attributes:
        seeds: what `--seeds` is given.
        videos: what `--videos` is given.
        inputs: names of all videos.
        images: names of the damaged images that a table names.
        mutations: how many files were damaged, by kind and way.
    """

    seeds: Path
    videos: Path
    inputs: frozenset[str]
    images: frozenset[str]
    mutations: Counter[tuple[str, str]]


def write_corpus(root: Path, count: int, seed: int, shards: bool = False) -> Corpus:
    """Write good files, and so many damaged ones: each by its number and the seed.

    Args:
        root: an empty folder.
        count: number of damaged files.
        seed: of the damages.
        shards: whether the seeds are webdataset shards instead of tables.
    """
    videos, seeds = root / "videos", root / "seeds"
    videos.mkdir(parents=True)
    seeds.mkdir()
    corpus = Corpus(seeds, videos, frozenset(), frozenset(), Counter())
    _write_good(corpus, shards)
    if not count:
        return corpus._replace(inputs=frozenset(GOOD_VIDEOS))
    sources, pictures = make_videos(root), make_images()
    inputs, images = set(GOOD_VIDEOS), set()
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        if rng.random() < _SHARE_OF_VIDEOS:
            mutant = mutate(rng.choice(sources), sources, rng)
            name = f"{number}_{mutant.name}"
            (videos / name).write_bytes(mutant.data)
            if not name.endswith(_SIDE_FILES):
                inputs.add(name)
            corpus.mutations["video", mutant.mutation] += 1
        elif shards:
            _write_shard(corpus, number, pictures, rng)
        elif rng.random() < 0.6:
            mutant = mutate(rng.choice(pictures), pictures, rng)
            images.add(f"{number}_{mutant.name}")
            (seeds / f"{number}_{mutant.name}").write_bytes(mutant.data)
            corpus.mutations["image", mutant.mutation] += 1
        else:
            _write_table(corpus, number, rng)
    if not shards:
        _write_rows(seeds / "images.csv", [(name, name) for name in sorted(images)])
    return corpus._replace(inputs=frozenset(inputs), images=frozenset(images))


def _write_good(corpus: Corpus, shards: bool) -> None:
    pictures = []
    for scene, name in enumerate(GOOD_VIDEOS, start=1):
        still = write_film(corpus.videos / name, scene)
        pictures.append(Source(f"good_{scene}.png", still))
    if shards:
        shard = make_shard("good", pictures)
        (corpus.seeds / shard.name).write_bytes(shard.data)
        return
    for picture in pictures:
        (corpus.seeds / picture.name).write_bytes(picture.data)
    rows = [(picture.name, f"scene {picture.name}") for picture in pictures]
    _write_rows(corpus.seeds / "good.csv", rows)


def _write_rows(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])


def _write_table(corpus: Corpus, number: int, rng: random.Random) -> None:
    tables = make_tables(f"table_{number}")
    mutant = _damage(rng.choice(tables), tables, rng)
    (corpus.seeds / f"table_{number}_{mutant.name}").write_bytes(mutant.data)
    corpus.mutations["table", mutant.mutation] += 1


def _write_shard(
    corpus: Corpus, number: int, pictures: Sequence[Source], rng: random.Random
) -> None:
    shard = make_shard(f"shard_{number}", rng.sample(pictures, len(pictures)))
    mutant = _damage(shard, [shard], rng)
    # A file of another name is not a shard, and so not an input.
    (corpus.seeds / shard.name).write_bytes(mutant.data)
    corpus.mutations["shard", mutant.mutation] += 1


def _damage(source: Source, sources: Sequence[Source], rng: random.Random) -> Mutant:
    if rng.random() < 0.5:
        return mutate_text(source, rng)
    mutant = mutate(source, sources, rng)
    # Its name says what a table is; those of videos are tried beside.
    return mutant._replace(name=source.name)
