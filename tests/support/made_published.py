"""Runs as the pointer lists them, and small whole run directories."""

import hashlib
import json
from pathlib import Path
from typing import Any

from published import PublishedRun


def published_run(day: str, **fields: Any) -> PublishedRun:
    """A run of 1000 frames with 100 matches, of 10 clips and 12 pairs."""
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


def write_run(directory: Path, pairs: str = "a.mp4,0,10,x\n", **counts: int) -> str:
    """A finished run of one file; gives its directory."""
    directory.mkdir(parents=True)
    (directory / "pairs.csv").write_text(pairs)
    file = {
        "path": "pairs.csv",
        "records": 1,
        "bytes": len(pairs),
        "sha256": hashlib.sha256(pairs.encode()).hexdigest(),
    }
    counted = {
        "frames_embedded": 1000,
        "matches_above_threshold": 100,
        "clips": 10,
        "pairs": 12,
    }
    run = {
        "format": "clipseed-run/1",
        "config": {"seeds": "/seeds.csv"},
        "embedder": "descriptor-v1",
        "threshold": 0.6,
        "counts": counted | counts,
        "accounting": [
            {"stage": "s", "in": 3, "out": 2, "dropped": {"x": 1}, "balanced": True}
        ],
        "files": [file],
    }
    (directory / "run.json").write_text(json.dumps(run))
    return str(directory)
