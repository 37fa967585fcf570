"""Run directories whose captions are the truth: the same clips, or scenes of the test.

They have what training and evaluation read of a run: `clips/`, `pairs.csv` and the
files' part of `run.json`.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from beam_pipeline.demo.world import Scene, caption
from benchmarks.made_world.corpus import FILM_S
from clipseed.elements import ClipCaption, Video
from clipseed.io.http import FetchConfig
from clipseed.run.clip_record import Caption, ClipRecord, encode
from clipseed.run.manifest import RunManifest
from clipseed.run.reader import Run
from clipseed.run.tables import CsvPair
from clipseed.run.writer import RunWriter
from transforms.clips.cut import CutConfig, cut_clips
from transforms.clips.write import ClipsConfig, make_record

CLIP_S = 6
CUT = CutConfig(CLIP_S * 1_000_000, 5.0, 96, 60.0)


def recaptioned(run: Path, truth: Mapping[str, Scene], output: Path) -> int:
    """Write the clips of a run with what they show in place of what was mined.

    Args:
        run: a run directory.
        truth: scenes by video, as the run names it.
        output: directory to write.

    Returns:
        How many clips there are.
    """
    records = Run.open(run).clips()
    return _write(output, (_told(record, truth[record.video]) for record in records))


def filmed(files: Iterable[str], scenes: Iterable[Scene], output: Path) -> int:
    """Write one clip of the middle of each film, captioned with its scene."""
    return _write(output, _cut(zip(files, scenes, strict=True)))


def _cut(films: Iterable[tuple[str, Scene]]) -> Iterator[ClipRecord]:
    config = ClipsConfig("", 1, CUT, "none", False, FetchConfig(), isolate=False)
    middle_us = FILM_S * 1_000_000 // 2
    for file, scene in films:
        video = Video(file, file, file)
        said = ClipCaption("", "", caption(scene), 1, 1.0, middle_us, video)
        for clip in cut_clips(file, [middle_us], CUT):
            yield make_record(clip, [said], config)


def _told(record: ClipRecord, scene: Scene) -> ClipRecord:
    said = Caption(caption(scene), "", "", 1.0, 1, record.start_us)
    return dataclasses.replace(record, captions=(said,))


def _write(output: Path, records: Iterable[ClipRecord]) -> int:
    pairs: list[CsvPair] = []

    def encoded() -> Iterator[bytes]:
        for record in records:
            said = record.captions[0].text
            pairs.append(CsvPair(record.video, record.start_us, record.end_us, said))
            yield encode(record)

    writer = RunWriter(str(output))
    clips = writer.write_clips(0, 1, encoded())
    writer.finish(RunManifest((clips, writer.write_pairs_csv(pairs))))
    return clips.records
