"""Runs as the pointer lists them, and small whole run directories."""

from pathlib import Path
from typing import Any

from published import PublishedRun

from clipseed.run.accounting import (
    BELOW_THRESHOLD,
    CLIPS,
    FRAMES,
    FRAMES_EMBEDDED,
    MATCHES,
    PAIRS,
    SELECTED,
    Counts,
)
from clipseed.run.manifest import IndexFacts, MiningFacts, RunManifest
from clipseed.run.tables import CsvPair
from clipseed.run.writer import RunWriter


def published_run(day: str, **fields: Any) -> PublishedRun:
    """Return a run of 1000 frames with 100 matches, of 10 clips and 12 pairs."""
    known: dict[str, Any] = {
        "run": f"runs/{day}/a",
        "digest": f"digest of {day}",
        "embedder": "descriptor-v1",
        "seeds": "/seeds.csv",
        "threshold": 0.6,
        "frames": 1000,
        "matches": 100,
        "clips": 10,
        "pairs": 12,
    }
    return PublishedRun(day=day, **known | fields)


def write_run(directory: Path, above: int = 100) -> str:
    """Write a finished run of one file; return its directory.

    Args:
        directory: to write.
        above: matches above the threshold, of 300, that the manifest counts.
    """
    writer = RunWriter(str(directory))
    counts = {
        FRAMES: 1000, FRAMES_EMBEDDED: 1000, CLIPS: 10, PAIRS: 12, MATCHES: 300,
        BELOW_THRESHOLD: 300 - above, SELECTED: above,
    }  # fmt: skip
    mining = MiningFacts(
        config={"seeds": "/seeds.csv"}, config_hash="hash", embedder="descriptor-v1",
        threshold=0.6, min_similarity=0.5, versions={}, started=1e9, seconds=1.0,
        counts=Counts(counts), seeds_fingerprint=1, index=IndexFacts("exact", 2),
    )  # fmt: skip
    pairs = writer.write_pairs_csv([CsvPair("a.mp4", 0, 10, "x")])
    writer.finish(RunManifest((pairs,), mining))
    return str(directory)
