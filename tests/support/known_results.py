"""Checksums of runs as the first version mined them, which later ones must not change.

`known_results.json` beside this file was made by commit c42ad57. Since then, clips
without sound hold a second of silence; without it their files are those of that commit.
"""

import json
from pathlib import Path

from clipseed.hashing import checksum


def known_results(name: str) -> dict[str, str]:
    """Return the SHA-256 of each file of a known run, by path."""
    path = Path(__file__).with_name("known_results.json")
    return json.loads(path.read_text())[name]


def checksums(run_dir: Path) -> dict[str, str]:
    """Return the SHA-256 of `pairs.csv` and of the files of `clips/`, by path."""
    files = [run_dir / "pairs.csv", *sorted((run_dir / "clips").iterdir())]
    return {str(file.relative_to(run_dir)): checksum(file) for file in files}
