"""`clipseed index-clips`: the clips of a run by a trained model, in an index."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipseed.errors import InputError
from clipseed.hashing import checksum

ABOUT = "search.json"
# What the index is tuned for where it is large enough for ScaNN.
_THRESHOLD = 0.3


def run(argv: Sequence[str]) -> int:
    """Runs `clipseed index-clips`; gives 0, or 2 if it could not."""
    parser = argparse.ArgumentParser(
        prog="clipseed index-clips",
        description="Embeds the clips of a run by a trained model, and indexes them.",
    )
    add = parser.add_argument
    add("run", help="run directory of `clipseed mine`")
    add("--model", required=True, help="output directory of `clipseed train`")
    add("--output", required=True, type=Path, help="new directory of the index")
    add("--segments", type=int, default=4, help="of a clip, equally spaced (4)")
    add("--batch_size", type=int, default=16)
    flags = parser.parse_args(argv)
    try:
        count = embed_into(
            flags.run, flags.model, flags.output, flags.segments, flags.batch_size
        )
    except InputError as reject:
        print(f"clipseed index-clips: {reject.message}", file=sys.stderr)
        return 2
    print(f"{count} clips in {flags.output}")
    return 0


def embed_into(
    run_dir: str, model: str, output: Path, segments: int, batch: int
) -> int:
    """Embeds and indexes the clips of a run; gives their number.

    Raises:
        InputError: run or model cannot be read, or the output is not empty.
    """
    from index_service.build.build_index import IndexConfig, build_index
    from models.data.loader import EvaluationData
    from models.retrieval.evaluate import embed_clips
    from models.training.load import load_trained

    trained = load_trained(model)
    data = EvaluationData(run_dir, trained.config.segment, segments)
    ids: list[str] = []
    rows = []
    for names, _, vectors in embed_clips(trained.encoder, data, batch):
        ids += [f"{len(ids) + i:09d}/{name}" for i, name in enumerate(names)]
        rows.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    vectors = np.concatenate(rows).astype(np.float32)
    index = output / "index"
    build_index(
        index, ids, vectors, embedder_of(model), _THRESHOLD, None, IndexConfig()
    )
    about = {"run": str(run_dir), "model": str(model)}
    (output / ABOUT).write_text(json.dumps(about) + "\n")
    return len(ids)


def embedder_of(model: str) -> str:
    """The embedder that a trained model is, by settings and last step."""
    from models.training.checkpoints import Checkpoints
    from models.training.loop import CONFIG

    with Checkpoints(model) as checkpoints:
        step = checkpoints.latest
    digest = checksum(Path(model) / CONFIG)
    return f"clips@{digest[:12]}-{step}"
