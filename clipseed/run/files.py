"""What the files of a run directory are called, and how a manifest describes them.

pairs.csv  pairs/  matches/  clips/  rejected/  videos/  seeds/  index/
run.json (written last)
"""

import os
from typing import NamedTuple

from clipseed.hashing import checksum

RUN_JSON = "run.json"
PAIRS_CSV = "pairs.csv"
PAIRS, MATCHES, CLIPS, REJECTED = "pairs", "matches", "clips", "rejected"
# What came of each input.
VIDEOS, SEEDS = "videos", "seeds"
INDEX = "index"

_SUFFIXES = {
    PAIRS: ".parquet",
    MATCHES: ".parquet",
    CLIPS: ".tfrecord",
    REJECTED: ".jsonl",
    VIDEOS: ".parquet",
    SEEDS: ".parquet",
}


class RunFile(NamedTuple):
    """A file of a run, as the manifest lists it.

    Attributes:
        path: inside the run directory, such as `pairs.csv`.
        records: rows, clips or lines in it; 0 if it has none.
        bytes: its size.
        sha256: in hex.
    """

    path: str
    records: int
    bytes: int
    sha256: str


def folder_of(file: RunFile) -> str:
    """Return the table that a file is a shard of; "" for a file at the top."""
    return file.path.rpartition("/")[0].partition("/")[0]


def shard_path(folder: str, shard: int, shards: int) -> str:
    """Return the path of a shard: `clips/clips-00000-of-00010.tfrecord`."""
    return f"{folder}/{folder}-{shard:05d}-of-{shards:05d}{_SUFFIXES[folder]}"


def describe_file(local_path: str, path: str, records: int) -> RunFile:
    """Describe a local file that will be, or is, at `path` of a run directory."""
    return RunFile(path, records, os.path.getsize(local_path), checksum(local_path))
