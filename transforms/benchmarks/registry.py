"""Published benchmarks: which clips there are, and which captions each has.

    benchmark = read_benchmark("msr_vtt", "annotations", "test")
    cut_benchmark(benchmark, "videos", "msr_vtt_test")  # of transforms.benchmarks.cut

Each caption is a query of its own and belongs to its own clip, also where another clip
has the same words (12 clips of AudioCaps' validation set share one caption): so the
published figures are counted.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from clipseed.errors import InputError
from transforms.benchmarks import audiocaps_clotho, msr_vtt, msr_vtt_captions
from transforms.benchmarks.annotations import Annotated


class BenchmarkClip(NamedTuple):
    """A clip to be found.

    Attributes:
        clip_id: its name in the benchmark.
        media: the name of its file, or of its video on YouTube.
        start_us: where it starts there.
        end_us: where it ends; -1: with the file.
        captions: the queries that ask for it.
    """

    clip_id: str
    media: str
    start_us: int
    end_us: int
    captions: tuple[str, ...]


class Benchmark(NamedTuple):
    """Clips with their captions.

    Attributes:
        name: protocol and split, `msr_vtt/test`.
        clips: what is searched, each once.
    """

    name: str
    clips: tuple[BenchmarkClip, ...]


_PROTOCOLS: dict[str, Callable[[str, str], Iterable[Annotated]]] = {
    "msr_vtt": msr_vtt.read,
    "msr_vtt_captions": msr_vtt_captions.read,
    "audiocaps": audiocaps_clotho.read_audiocaps,
    "clotho": audiocaps_clotho.read_clotho,
}
PROTOCOLS = tuple(_PROTOCOLS)


def read_benchmark(protocol: str, directory: str, split: str = "test") -> Benchmark:
    """Read a benchmark's annotations.

    Args:
        protocol: one of `PROTOCOLS`.
        directory: where its annotation files are, local or `gs://`.
        split: `train`, `val` or `test`, as the benchmark has them.

    Raises:
        InputError: `unknown_protocol`, `no_annotations` with the files looked for, or
            `bad_annotation` with file and row.
    """
    if protocol not in _PROTOCOLS:
        raise InputError(
            "unknown_protocol",
            f"{protocol!r} is not a protocol; name one of {', '.join(PROTOCOLS)}",
        )
    captions: dict[Annotated, list[str]] = {}
    for row in _PROTOCOLS[protocol](directory, split):
        captions.setdefault(row._replace(caption=""), []).append(row.caption)
    if not captions:
        raise InputError("bad_annotation", f"the {split} split of {directory} is empty")
    clips = (
        BenchmarkClip(*clip[1:], captions=tuple(texts))
        for clip, texts in captions.items()
    )
    return Benchmark(f"{protocol}/{split}", tuple(clips))
