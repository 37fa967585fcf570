"""A benchmark's videos and sounds as a run directory, cut as mined clips are.

    cut_benchmark(read_benchmark("msr_vtt", "annotations"), "videos", "msr_vtt_test")

The result is a run like any other, for training and evaluation. People wrote the
captions, so the records have similarity 1. `run.json` names the clips that could not be
cut, so that they can be counted.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.clip_record import Caption, ClipRecord, encode
from clipseed.run.files import RunFile
from clipseed.run.manifest import CutBenchmark, MissingClip, RunManifest
from clipseed.run.reader import Run, is_run
from clipseed.run.tables import CsvPair
from clipseed.run.writer import RunWriter
from transforms.benchmarks.media_files import MediaFiles
from transforms.benchmarks.registry import Benchmark, BenchmarkClip
from transforms.clips.cut import CutClip, CutConfig
from transforms.clips.cut_whole import cut_part
from transforms.clips.to_record import record_of
from transforms.media.isolation.worker_process import Isolation

# As `clipseed mine` cuts, but for the length: the paper's 25 frames a second.
_CUT = CutConfig(clip_us=0, fps=25.0, short_side_px=256, limit_s=600.0)
_SHARDS = 16
_ANNOTATED = "annotated"  # Where a mined clip has the name of its embedder.


def cut_benchmark(benchmark: Benchmark, media: str, output: str) -> None:
    """Cut all clips of a benchmark; do nothing if they exist already.

    Args:
        benchmark: what to cut, with its captions.
        media: folder of the files, local or `gs://`.
        output: the run directory, local or `gs://`.

    Raises:
        InputError: `other_run` if something else is there, `no_clips` if none of the
            clips can be cut, `not_found` for the folder.
    """
    digest = _digest(benchmark)
    if _is_there(output, digest):
        return
    cutter = _Cutter(benchmark, MediaFiles(media), output)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        shards = list(threads.map(cutter.write, range(_SHARDS)))
    missing = [clip for shard in shards for clip in shard.missing]
    if len(missing) == len(benchmark.clips):
        raise InputError(
            "no_clips",
            f"none of the {len(missing)} clips of {benchmark.name} can be cut; the "
            f"first, {missing[0].clip_id}: {missing[0].message}",
        )
    writer = RunWriter(output)
    pairs = writer.write_pairs_csv(pair for shard in shards for pair in shard.pairs)
    files = (pairs, *(shard.file for shard in shards))
    cut = CutBenchmark(benchmark.name, digest, tuple(missing))
    writer.finish(RunManifest(files, benchmark=cut))


class _Shard(NamedTuple):
    """What became of a shard: its file, the clips it lacks, its rows of pairs.csv."""

    file: RunFile
    missing: list[MissingClip]
    pairs: list[CsvPair]


class _Cutter:
    """Writes shards of a benchmark, several at once."""

    def __init__(self, benchmark: Benchmark, files: MediaFiles, output: str) -> None:
        self._clips, self._files, self._output = benchmark.clips, files, output

    def write(self, number: int) -> _Shard:
        """Yield every `_SHARDS`-th clip."""
        clips = self._clips[number::_SHARDS]
        missing: list[MissingClip] = []
        pairs: list[CsvPair] = []
        records = self._records(clips, missing, pairs)
        file = RunWriter(self._output).write_clips(number, _SHARDS, records)
        logging.info("%s: %d of %d clips", file.path, file.records, len(clips))
        return _Shard(file, missing, pairs)

    def _records(
        self,
        clips: Sequence[BenchmarkClip],
        missing: list[MissingClip],
        pairs: list[CsvPair],
    ) -> Iterator[bytes]:
        isolation = Isolation()
        try:
            for clip in clips:
                try:
                    record = self._cut(isolation, clip)
                except InputError as error:
                    why = (error.reason, error.message)
                    missing.append(MissingClip(clip.clip_id, *why, clip.captions))
                    continue
                place = (record.video, record.start_us, record.end_us)
                pairs.extend(CsvPair(*place, caption) for caption in clip.captions)
                yield encode(record)
        finally:
            isolation.close()

    def _cut(self, isolation: Isolation, clip: BenchmarkClip) -> ClipRecord:
        with storage.localize(self._files.find(clip)) as path:
            part = (clip.start_us, clip.end_us)
            (found,) = isolation.iterate(
                cut_part, *part, _CUT, file=path, limit_s=_CUT.limit_s
            )
        return _record(clip, found)


def _record(clip: BenchmarkClip, cut: CutClip) -> ClipRecord:
    captions = (
        Caption(text, "", "", 1.0, rank, cut.times_us[0])
        for rank, text in enumerate(clip.captions, start=1)
    )
    return record_of(
        cut,
        _CUT.fps,
        captions,
        clip_id=clip.clip_id,
        video_id=clip.media,
        video=clip.media,
        embedder=_ANNOTATED,
    )


def _digest(benchmark: Benchmark) -> str:
    content = json.dumps(benchmark)
    return hashlib.sha256(content.encode()).hexdigest()


def _is_there(output: str, digest: str) -> bool:
    if not is_run(output):
        return False
    found = Run.open(output).manifest.benchmark
    if found is None or found.digest != digest:
        raise InputError(
            "other_run", f"{output} holds another run: give another directory"
        )
    return True
