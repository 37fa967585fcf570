"""Clipseed: captioned clips mined from videos. This package is the public API.

    import clipseed

    run = clipseed.open_run("demo_run/run", verify="checksums")
    print(run.mining.threshold, len(run.manifest.files))
    for pair in run.pairs():
        print(pair.video, pair.start_us, pair.end_us, pair.caption, pair.similarity)
    for clip in clipseed.read_clips("demo_run/run"):
        frames = clip.decode_frames()      # uint8 [n, h, w, 3]; `clip.frames` are JPEGs
        print(clip.captions[0].text, frames.shape, clip.samples.shape)

Reading a run needs neither Beam nor TensorFlow, and nothing heavy is imported before
it is used.
"""

from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipseed.run.clip_record import ClipRecord
    from clipseed.run.reader import Run, Verify

__all__ = ["open_run", "read_clips"]


def open_run(uri: str | PathLike[str], verify: "Verify" = "sizes") -> "Run":
    """Open a finished run; see `clipseed.run.reader.Run`.

    Args:
        uri: the output of `clipseed mine`, local or `gs://`.
        verify: what is compared with the manifest first: `nothing`, the `sizes` of all
            files, or their `checksums` too.

    Raises:
        InputError: `not_a_run` or `damaged_run`.
    """
    from clipseed.run.reader import Run

    return Run.open(uri, verify)


def read_clips(uri: str | PathLike[str]) -> Iterator["ClipRecord"]:
    """Yield the clips of a finished run: frames, sound, log-mel, captions.

    Raises:
        InputError: as `open_run`; `damaged_shard` or `bad_record` for a damaged clip.
    """
    return open_run(uri).clips()
