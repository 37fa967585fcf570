"""A TensorFlow model against its export to ONNX: frames per second in one process.

    python -m benchmarks.mining.embedders MODEL

MODEL is the directory of a SavedModel with the operations that `tf_to_onnx` knows,
such as MobileNetV2's. Both embed the same frames through the embedders that `mine`
loads, by turns, so that what else the machine does hits both alike.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clipseed.quiet import quiet_libraries
from models.embedders.base import Embedder, unit_rows
from models.embedders.registry import load_embedder


class Speed(NamedTuple):
    """The medians over the rounds of one embedder.

    Attributes:
        frames_per_s: by elapsed time.
        cpu_ms: CPU time per frame, over all threads.
    """

    frames_per_s: float
    cpu_ms: float


def compare(model: Path, frames: int, rounds: int) -> tuple[dict[str, Speed], float]:
    """Measure both embedders by turns.

    Args:
        model: directory of a SavedModel.
        frames: per round.
        rounds: of each, after one that is not counted.

    Returns:
        the speed by `hub` and `onnx`, and the smallest cosine of their embeddings.
    """
    from benchmarks.mining.tf_to_onnx import export  # It imports TensorFlow.

    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "model.onnx"
        export(model, exported)
        names = {"hub": f"hub:{model}", "onnx": f"onnx:{exported}"}
        embedders = {kind: load_embedder(name) for kind, name in names.items()}
    side = embedders["hub"].resizing.size_px
    shape = (frames, side, side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    units = [unit_rows(each.embed(images))[0] for each in embedders.values()]
    cosine = float((units[0] * units[1]).sum(axis=1).min())
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in embedders}
    for _ in range(rounds):
        for kind, embedder in embedders.items():
            taken[kind].append(_time(embedder, images))
    speeds = {}
    for kind, times in taken.items():
        elapsed_s, cpu_s = map(statistics.median, zip(*times, strict=True))
        speeds[kind] = Speed(frames / elapsed_s, 1000 * cpu_s / frames)
    return speeds, cosine


def _time(embedder: Embedder, images: np.ndarray) -> tuple[float, float]:
    """Return elapsed and CPU seconds of embedding images."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    embedder.embed(images)
    return time.perf_counter() - start_s, time.process_time() - start_cpu_s


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of both, and the ratio."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mining.embedders", description=__doc__
    )
    parser.add_argument("model", type=Path, help="directory of a SavedModel")
    parser.add_argument("--frames", type=int, default=128, help="frames per round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each")
    given = parser.parse_args(argv)
    quiet_libraries()
    speeds, cosine = compare(given.model, given.frames, given.rounds)
    print("| embedder | frames per second | CPU ms per frame |\n|---|---:|---:|")
    for kind, speed in speeds.items():
        print(f"| {kind} | {speed.frames_per_s:.0f} | {speed.cpu_ms:.1f} |")
    hub, onnx = speeds["hub"], speeds["onnx"]
    faster, costlier = onnx.frames_per_s / hub.frames_per_s, onnx.cpu_ms / hub.cpu_ms
    print(
        f"\nONNX Runtime against TensorFlow: {faster:.2f} times the frames per second, "
        f"{costlier:.2f} times the CPU; smallest cosine {cosine:.8f}"
    )


if __name__ == "__main__":
    main()
