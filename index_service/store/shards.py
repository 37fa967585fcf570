"""Cutting an index by hash of the seed id, the same way on every machine."""

import re
from collections.abc import Sequence

import numpy as np

from clipseed.errors import InputError
from clipseed.hashing import shard_of

_NAME = re.compile(r"shard-(\d{5})-of-(\d{5})")


def shard_name(shard: int, shards: int) -> str:
    """A shard's directory: `shard-00000-of-00003`."""
    return f"shard-{shard:05d}-of-{shards:05d}"


def is_shard_name(name: str) -> bool:
    """Return whether a directory is a shard by its name."""
    return _NAME.fullmatch(name) is not None


def split(ids: Sequence[str], shards: int) -> list[np.ndarray]:
    """The rows of each shard.

    Raises:
        InputError: `too_many_shards` when a shard would be empty.
    """
    places = np.array([shard_of(seed_id, shards) for seed_id in ids])
    parts = [np.flatnonzero(places == shard) for shard in range(shards)]
    if shards < 1 or any(part.size == 0 for part in parts):
        raise InputError(
            "too_many_shards",
            f"{shards} shards for {len(ids)} seeds: one would be empty; cut into fewer",
        )
    return parts
