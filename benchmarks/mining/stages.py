"""Measure each stage's cost of mining, the assumptions of `clipseed estimate-cost`.

python -m benchmarks.mining.stages [--minutes 4] [--embedder hub:DIR]

CPU seconds of this process, all threads, on made films of real pieces; each stage runs
once over the whole corpus. Prints flags of `clipseed estimate-cost`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from apache_beam import coders

import transforms.coders  # noqa: F401  (registers the coders of what is shuffled)
from benchmarks.mining.corpus import Corpus, build_corpus, film_lengths, find_sources
from benchmarks.processes import ROOT
from clipseed.elements import ClipCaption, Match, SeedRow, Video, VideoPart
from clipseed.io.http import FetchConfig
from clipseed.run.clip_record import encode
from models.embedders.registry import load_embedder
from models.pretrained.resizing import Resizing
from transforms.clips.cut import CutConfig, cut_clips
from transforms.clips.write import ClipsConfig, make_record
from transforms.media.isolation.worker_process import Isolation
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames
from transforms.seeds.formats import SeedsConfig, read_seeds
from transforms.seeds.load_images import LoadConfig, batches, load_batch

_CUT = CutConfig(10_000_000, 25.0, 256, 600.0)
_BATCH = 64


def stage_costs(corpus: Corpus, embedder_name: str) -> dict[str, float]:
    """Return costs by the names of the flags of `clipseed estimate-cost`."""
    embedder = load_embedder(embedder_name)
    hours = corpus.seconds / 3600
    costs = {}
    frames: list[np.ndarray] = []
    modes: tuple[Literal["keyframe", "exact"], ...] = ("keyframe", "exact")
    for mode in modes:
        start_s = time.process_time()
        frames = list(_frames(corpus, mode, embedder.resizing))
        costs[f"{mode}_decode_s"] = (time.process_time() - start_s) / hours
    embedder.embed(np.stack(frames[:_BATCH]))  # Loads what is loaded at first use.
    start_s = time.process_time()
    for first in range(0, len(frames) - _BATCH, _BATCH):
        embedder.embed(np.stack(frames[first : first + _BATCH]))
    done = (len(frames) - 1) // _BATCH * _BATCH
    costs["embed_s"] = (time.process_time() - start_s) / done
    costs["seed_s"] = _seed_s(corpus, embedder.resizing)
    return costs | _clip_costs(corpus) | element_bytes()


def _frames(corpus: Corpus, mode: str, resizing: Resizing) -> Iterator[np.ndarray]:
    sampling = SamplingConfig(1.0, mode, resizing, 120.0, 600.0)
    for path in corpus.files():
        for item in extract_frames(str(path), 0, 2**62, sampling):
            if isinstance(item, Frame):
                yield item.image


def _seed_s(corpus: Corpus, resizing: Resizing) -> float:
    """CPU seconds to read and decode a seed's image."""
    rows = [
        row
        for row in read_seeds(str(corpus.seeds), SeedsConfig("auto", None, None))
        if isinstance(row, SeedRow)
    ]
    config, in_process = LoadConfig(resizing, FetchConfig()), Isolation(isolate=False)
    start_s = time.process_time()
    for batch in batches(rows, "seeds", 256):
        load_batch(batch, config, in_process)
    return (time.process_time() - start_s) / len(rows)


def _clip_costs(corpus: Corpus) -> dict[str, float]:
    """CPU seconds and bytes of a clip: one from the middle of each film."""
    config = ClipsConfig("", 8, _CUT, "", False, FetchConfig(), False)
    sizes: list[int] = []
    start_s = time.process_time()
    for path in corpus.files():
        video = Video(path.stem, str(path), str(path))
        for clip in cut_clips(str(path), [10_000_000], _CUT):
            row = ClipCaption("seed", "seed.jpg", "text", 1, 0.8, 10_000_000, video)
            sizes.append(len(encode(make_record(clip, [row], config))))
    spent_s = time.process_time() - start_s
    return {"cut_s": spent_s / len(sizes), "clip_bytes": sum(sizes) / len(sizes)}


def element_bytes() -> dict[str, float]:
    """Return the sizes of what is shuffled, as Beam's coders write it."""
    name = "gs://a-bucket/videos/2024-01-01/aaaaaaaaaaa.mp4"
    video, seed_id = Video("f" * 16, name, name), "e" * 16
    match = (seed_id, Match(seed_id, 0.75, video, 123_456_789))
    seed = SeedRow("https://a-host.example/a/path/to/an/image.jpg", name, "a " * 40)
    key = coders.StrUtf8Coder()

    def size(element: object) -> int:
        return len(coders.registry.get_coder(type(element)).encode(element))

    return {
        "match_bytes": float(len(key.encode(match[0])) + size(match[1])),
        "part_bytes": float(size(VideoPart(video, 0, 120_000_000))),
        "seed_bytes": float(size(seed)),
    }


def main() -> None:
    """Build the corpus where it is missing, measure, print flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--embedder", default="descriptor")
    parser.add_argument("--work", type=Path,
        default=Path(tempfile.gettempdir()) / "clipseed_benchmark")  # fmt: skip
    flags = parser.parse_args()
    flags.work.mkdir(parents=True, exist_ok=True)
    seconds = round(flags.minutes * 60)
    sources = find_sources(flags.data, flags.work)
    place = flags.work / f"{seconds}_s"
    corpus = build_corpus(place, sources, film_lengths(seconds), 40)
    for name, value in stage_costs(corpus, flags.embedder).items():
        print(f"--{name}={value:.4g}")


if __name__ == "__main__":
    main()
