"""Run directories whose captions are the truth: the same clips, or scenes of the test.

They have what training and evaluation read of a run: `clips/`, `pairs.csv` and the
files' part of `run.json`.
"""

import csv
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from beam_pipeline.demo.world import Scene, caption
from benchmarks.made_world.corpus import FILM_S
from clipseed.elements import Video
from clipseed.io.http import FetchConfig
from clipseed.run.clip_record import Caption, ClipRecord, decode, encode
from clipseed.run.tfrecord import read_records, write_records
from transforms.clips.cut import CutConfig, cut_clips
from transforms.clips.write import ClipsConfig, make_record
from transforms.matches.pairs import Selected
from transforms.run.manifest import FORMAT
from transforms.run.shards import describe_file

SPAN_S = 6
CUT = CutConfig(SPAN_S * 1_000_000, 5.0, 96, 60.0)
_CLIPS = "clips/clips-00000-of-00001.tfrecord"


def recaptioned(run: Path, truth: Mapping[str, Scene], output: Path) -> int:
    """Writes the clips of a run with what they show in place of what was mined.

    Args:
        run: a run directory.
        truth: scenes by video, as the run names it.
        output: directory to write.

    Returns:
        How many clips there are.
    """
    shards = sorted((run / "clips").glob("*.tfrecord"))
    records = (decode(data) for shard in shards for data in read_records(str(shard)))
    return _write(output, (_told(record, truth[record.video]) for record in records))


def filmed(files: Iterable[str], scenes: Iterable[Scene], output: Path) -> int:
    """Writes one clip of the middle of each film, captioned with its scene."""
    return _write(output, _cut(zip(files, scenes, strict=True)))


def _cut(films: Iterable[tuple[str, Scene]]) -> Iterator[ClipRecord]:
    config = ClipsConfig("", 1, CUT, "none", False, FetchConfig(), isolate=False)
    middle_us = FILM_S * 1_000_000 // 2
    for file, scene in films:
        video = Video(file, file, file)
        said = Selected("", "", caption(scene), 1, 1.0, middle_us, video)
        for clip in cut_clips(file, [middle_us], CUT):
            yield make_record(clip, [said], config)


def _told(record: ClipRecord, scene: Scene) -> ClipRecord:
    said = Caption(caption(scene), "", "", 1.0, 1, record.start_us)
    return dataclasses.replace(record, captions=(said,))


def _write(output: Path, records: Iterable[ClipRecord]) -> int:
    (output / "clips").mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, int, int, str]] = []

    def encoded() -> Iterator[bytes]:
        for record in records:
            said = record.captions[0].text
            rows.append((record.video, record.start_us, record.end_us, said))
            yield encode(record)

    write_records(str(output / _CLIPS), encoded())
    with (output / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    described = describe_file(str(output / _CLIPS), _CLIPS, len(rows))
    manifest = {"format": FORMAT, "files": [described._asdict()]}
    (output / "run.json").write_text(json.dumps(manifest))
    return len(rows)
