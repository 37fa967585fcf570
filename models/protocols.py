"""Retrieval benchmarks: which captions belong to which clips.

    benchmark = read_benchmark("msr_vtt", "annotations", "test")
    benchmark, rows = benchmark.only(ids)       # the clips that were embedded
    retrieval(texts @ clips[rows].T, benchmark.relevant())

Each caption is a query of its own and belongs to its own clip, also where another clip
has the same words (12 clips of AudioCaps' validation set share one caption): so the
published figures are counted. A run directory tells nobody which of equal captions was
meant, so there a caption belongs to every clip that has it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from models import audio_captions, msr_vtt
from models.annotations import Annotated, duplicates
from models.run_clips import open_clips
from transforms.clip_record import decode
from transforms.elements import Reject


class BenchmarkClip(NamedTuple):
    """A clip to be found.

    Attributes:
        clip_id: its name in the benchmark.
        media: the name of its file, or of its video on YouTube.
        start_us: where it starts there.
        end_us: where it ends; -1: with the file.
    """

    clip_id: str
    media: str
    start_us: int = 0
    end_us: int = -1


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Clips, captions, and which belong together.

    Attributes:
        name: protocol and split.
        clips: what is searched, each once.
        captions: the queries.
        owners: for each caption the places in `clips` of those it belongs to.
    """

    name: str
    clips: tuple[BenchmarkClip, ...]
    captions: tuple[str, ...]
    owners: tuple[tuple[int, ...], ...]

    def relevant(self) -> np.ndarray:
        """Which belong together: bool [captions, clips]."""
        relevant = np.zeros((len(self.captions), len(self.clips)), bool)
        for row, owners in enumerate(self.owners):
            relevant[row, list(owners)] = True
        return relevant

    def only(self, clip_ids: Sequence[str]) -> "tuple[Benchmark, list[int]]":
        """The benchmark without the clips that are not at hand (dead links).

        Args:
            clip_ids: of those at hand, in any order, each once; others may be there.

        Returns:
            The smaller benchmark, and where each of its clips stands in `clip_ids`.

        Raises:
            Reject: `duplicate_clip`, or `no_clips` if there is none of them.
        """
        for twice in duplicates(clip_ids):
            raise Reject("duplicate_clip", f"two clips have the id {twice}")
        place = {clip_id: row for row, clip_id in enumerate(clip_ids)}
        kept = [n for n, clip in enumerate(self.clips) if clip.clip_id in place]
        if not kept:
            raise Reject(
                "no_clips",
                f"none of the {len(self.clips)} clips of {self.name} is there; name "
                "the run that was made of this benchmark",
            )
        new = {old: row for row, old in enumerate(kept)}
        owners = [tuple(new[n] for n in o if n in new) for o in self.owners]
        captions = [(c, o) for c, o in zip(self.captions, owners, strict=True) if o]
        smaller = Benchmark(
            self.name,
            tuple(self.clips[n] for n in kept),
            tuple(caption for caption, _ in captions),
            tuple(owner for _, owner in captions),
        )
        return smaller, [place[clip.clip_id] for clip in smaller.clips]


_PROTOCOLS: dict[str, Callable[[str, str], Iterable[Annotated]]] = {
    "msr_vtt": msr_vtt.read,
    "audiocaps": audio_captions.read_audiocaps,
    "clotho": audio_captions.read_clotho,
}
PROTOCOLS = tuple(_PROTOCOLS)


def read_benchmark(protocol: str, directory: str, split: str = "test") -> Benchmark:
    """Reads a benchmark's annotations.

    Args:
        protocol: one of `PROTOCOLS`.
        directory: where its annotation files lie, local or `gs://`.
        split: `train`, `val` or `test`, as the benchmark has them.

    Raises:
        Reject: `unknown_protocol`, `no_annotations` with the files looked for, or
            `bad_annotation` with file and row.
    """
    if protocol not in _PROTOCOLS:
        raise Reject(
            "unknown_protocol",
            f"{protocol!r} is no protocol; name one of {', '.join(PROTOCOLS)}",
        )
    clips: dict[BenchmarkClip, int] = {}
    captions, owners = [], []
    for row in _PROTOCOLS[protocol](directory, split):
        clip = BenchmarkClip(row.clip_id, row.media, row.start_us, row.end_us)
        owners.append((clips.setdefault(clip, len(clips)),))
        captions.append(row.caption)
    if not captions:
        raise Reject("bad_annotation", f"the {split} split of {directory} is empty")
    name = f"{protocol}/{split}"
    return Benchmark(name, tuple(clips), tuple(captions), tuple(owners))


def run_benchmark(run_dir: str, verify: bool = True) -> Benchmark:
    """The clips of a run, and their distinct captions.

    Args:
        run_dir: what `clipseed mine` wrote, local or `gs://`.
        verify: see `open_clips`.

    Raises:
        Reject: see `open_clips`; `bad_record` for one without the keys.
    """
    run = open_clips(run_dir, verify)
    clips, owners = [], dict[str, list[int]]()
    for number in range(len(run)):
        try:
            record = decode(run.read(number))
        except Reject as reject:
            message = f"{run.name(number)}: {reject.message} Mine the run again."
            raise Reject(reject.reason, message) from reject
        clips.append(
            BenchmarkClip(record.clip_id, record.video, record.start_us, record.end_us)
        )
        for caption in dict.fromkeys(c.text for c in record.captions):
            owners.setdefault(caption, []).append(number)
    return Benchmark(
        f"run/{run_dir}",
        tuple(clips),
        tuple(owners),
        tuple(map(tuple, owners.values())),
    )
