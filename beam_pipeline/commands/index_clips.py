"""`clipseed index-clips`: embed the clips of a run by a trained model, for search."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags
from clipseed.hashing import checksum
from clipseed.io import storage

ABOUT, INDEX = "search.json", "index"  # The first is written last.
# What the index is tuned for where it is large enough for ScaNN.
_THRESHOLD = 0.3


@flags
class IndexClipsFlags:
    """All flags of `clipseed index-clips`."""

    run: str = flag("Run directory of `clipseed mine`", positional=True)
    model: str = flag("Output directory of `clipseed train`", metavar="PATH")
    output: Path = flag("New directory of the index")
    segments: int = flag(
        "Number of segments per clip, equally spaced", default=4, at_least=1
    )
    batch_size: int = flag("Segments embedded at once", default=16, at_least=1)


COMMAND_LINE = CommandLine(
    "clipseed index-clips",
    IndexClipsFlags,
    "Embed the clips of a run by a trained model, and index them for `clipseed "
    "search`.",
)


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed index-clips`; return 0, or 2 if that is not possible."""
    given = COMMAND_LINE.parse(arguments)
    try:
        count = embed_into(
            given.run, given.model, given.output, given.segments, given.batch_size
        )
    except InputError as error:
        print(f"clipseed index-clips: {error.message}", file=sys.stderr)
        return 2
    print(f"{count} clips in {given.output}")
    return 0


def embed_into(
    run_dir: str, model: str, output: Path, segments: int, batch: int
) -> int:
    """Embed and index the clips of a run; return their number.

    Raises:
        InputError: run or model cannot be read, or the output is not empty.
    """
    from index_service.build.build_index import IndexConfig, build_index
    from models.data.evaluation import EvaluationData
    from models.retrieval.evaluate import embed_clips
    from models.retrieval.task import retrieval_encoder
    from models.training.load import load_trained

    _check_new(output)
    encoder = retrieval_encoder(load_trained(model))
    data = EvaluationData(run_dir, encoder.segment, segments)
    ids: list[str] = []
    rows = []
    for names, _, vectors in embed_clips(encoder, data, batch):
        ids += [f"{len(ids) + i:09d}/{name}" for i, name in enumerate(names)]
        rows.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    vectors = np.concatenate(rows).astype(np.float32)
    index = output / INDEX
    build_index(
        index, ids, vectors, embedder_of(model), _THRESHOLD, None, IndexConfig()
    )
    about = {"run": _reference(run_dir, output), "model": _reference(model, output)}
    (output / ABOUT).write_text(json.dumps(about) + "\n")
    return len(ids)


def _check_new(output: Path) -> None:
    """Check that an index may be written, and remove the rest of an interrupted one.

    Raises:
        InputError: `not_empty`.
    """
    held = {path.name for path in output.glob("*")}
    if held - {INDEX}:
        raise InputError(
            "not_empty", f"{output} holds {min(held)}: name a new directory"
        )
    if held:
        shutil.rmtree(output / INDEX)


def _reference(place: str, index: Path) -> list[str]:
    """Return how to find a directory from an index, when one of them has moved.

    Returns:
        its path relative to the index, which holds where both have moved together, and
        its absolute path, which holds where the index has moved alone.
    """
    if storage.is_remote(place):
        return [place]
    return [os.path.relpath(place, index), os.path.abspath(place)]


def find(references: Sequence[str], index: Path, marker: str) -> str:
    """Return the directory that `_reference` described.

    Args:
        references: as `search.json` has them.
        index: directory of the index, where it is now.
        marker: file that the directory holds.

    Raises:
        InputError: `not_found`, naming where it was looked for.
    """
    places = [storage.join(str(index), reference) for reference in references]
    for place in places:
        if storage.exists(storage.join(place, marker)):
            return os.path.normpath(place) if not storage.is_remote(place) else place
    raise InputError(
        "not_found",
        f"{index} was made of {' or '.join(places)}, which is not there: put it back, "
        "or run `clipseed index-clips` again",
    )


def embedder_of(model: str) -> str:
    """Return the embedder id of a trained model, from its settings and last step."""
    from models.training.checkpoints import Checkpoints
    from models.training.load import CONFIG

    with Checkpoints(model) as checkpoints:
        step = checkpoints.latest
    digest = checksum(Path(model) / CONFIG)
    return f"clips@{digest[:12]}-{step}"
