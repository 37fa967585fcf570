"""A benchmark's videos and sounds as a run directory, cut as mined clips are.

    cut_benchmark(read_benchmark("msr_vtt", "annotations"), "videos", "msr_vtt_test")

What comes out is trained on and measured like any run. Captions are given by people:
they stand in the records with similarity 1. What could not be cut is named in
`run.json`, so that it can be counted.
"""

import csv
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.clip_record import Caption, ClipRecord, encode
from clipseed.run.clips import FORMAT, MissingClip, open_clips
from clipseed.run.tfrecord import write_records
from transforms.benchmarks.media_files import MediaFiles
from transforms.benchmarks.registry import Benchmark, BenchmarkClip
from transforms.clips.cut import CutClip, CutConfig
from transforms.clips.cut_whole import cut_span
from transforms.clips.to_record import record_of
from transforms.media.worker_process import Isolation

# As `clipseed mine` cuts, but for the length: the paper's 25 frames a second.
_CUT = CutConfig(clip_us=0, fps=25.0, short_side_px=256, limit_s=600.0)
_SHARDS = 16
_ANNOTATED = "annotated"  # Where a mined clip has the name of its embedder.


def cut_benchmark(benchmark: Benchmark, media: str, output: str) -> None:
    """Cuts all clips of a benchmark; nothing if they lie there already.

    Args:
        benchmark: what to cut, with its captions.
        media: folder of the files, local or `gs://`.
        output: the run directory, local or `gs://`.

    Raises:
        InputError: `other_run` if something else lies there, `no_clips` if none of the
            clips can be cut, `not_found` for the folder.
    """
    identity = {"name": benchmark.name, "digest": _digest(benchmark)}
    if _is_there(output, identity):
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
    pairs = _write_pairs([pair for shard in shards for pair in shard.pairs], output)
    run = {
        "format": FORMAT,
        "benchmark": identity | {"missing": [clip._asdict() for clip in missing]},
        "files": [pairs, *(shard.file for shard in shards)],
    }
    text = json.dumps(run, indent=2, ensure_ascii=False) + "\n"
    storage.write_bytes(storage.join(output, "run.json"), text.encode())


class _Shard(NamedTuple):
    """What became of a shard: its entry in the manifest, what lacks, rows of pairs."""

    file: dict[str, Any]
    missing: list[MissingClip]
    pairs: list[tuple[str, int, int, str]]


class _Cutter:
    """Writes shards of a benchmark, several at once."""

    def __init__(self, benchmark: Benchmark, files: MediaFiles, output: str) -> None:
        self._clips, self._files, self._output = benchmark.clips, files, output

    def write(self, number: int) -> _Shard:
        """Every `_SHARDS`-th clip."""
        path = f"clips/clips-{number:05d}-of-{_SHARDS:05d}.tfrecord"
        mine = self._clips[number::_SHARDS]
        shard = _Shard({}, [], [])
        with storage.writing(storage.join(self._output, path)) as local:
            write_records(local, self._records(mine, shard))
            records = len(mine) - len(shard.missing)
            shard.file.update(_describe(local, path, records))
        logging.info("%s: %d of %d clips", path, records, len(mine))
        return shard

    def _records(
        self, clips: Sequence[BenchmarkClip], shard: _Shard
    ) -> Iterator[bytes]:
        isolation = Isolation()
        try:
            for clip in clips:
                try:
                    record = self._cut(isolation, clip)
                except InputError as reject:
                    why = (reject.reason, reject.message)
                    shard.missing.append(MissingClip(clip.clip_id, *why, clip.captions))
                    continue
                span = (record.video, record.start_us, record.end_us)
                shard.pairs.extend((*span, caption) for caption in clip.captions)
                yield encode(record)
        finally:
            isolation.close()

    def _cut(self, isolation: Isolation, clip: BenchmarkClip) -> ClipRecord:
        with storage.localize(self._files.find(clip)) as path:
            span = (clip.start_us, clip.end_us)
            (found,) = isolation.iterate(
                cut_span, *span, _CUT, file=path, limit_s=_CUT.limit_s
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


def _is_there(output: str, identity: dict[str, str]) -> bool:
    if not storage.exists(storage.join(output, "run.json")):
        return False
    run = open_clips(output, verify=False)
    if run.benchmark is None or run.benchmark.digest != identity["digest"]:
        raise InputError(
            "other_run", f"{output} holds another run: give another directory"
        )
    return True


def _write_pairs(
    pairs: Sequence[tuple[str, int, int, str]], output: str
) -> dict[str, Any]:
    """`pairs.csv` as mining writes it; its entry in the manifest."""
    with storage.writing(storage.join(output, "pairs.csv")) as path:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
            writer.writerows(pairs)
        return _describe(path, "pairs.csv", len(pairs))


def _describe(local: str, path: str, records: int) -> dict[str, Any]:
    with open(local, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    return {"path": path, "records": records, "bytes": size, "sha256": digest}
