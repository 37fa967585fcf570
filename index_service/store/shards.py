"""Shards of an index: seeds are assigned by hash of their id, so equally everywhere."""

import re
from collections.abc import Sequence

import numpy as np

from clipseed.errors import InputError
from clipseed.hashing import shard_of

_NAME = re.compile(r"shard-(\d{5})-of-(\d{5})")


def shard_name(shard: int, shards: int) -> str:
    """Return the name of a shard's directory: `shard-00000-of-00003`."""
    return f"shard-{shard:05d}-of-{shards:05d}"


def is_shard_name(name: str) -> bool:
    """Return whether a directory has the name of a shard."""
    return _NAME.fullmatch(name) is not None


def split(ids: Sequence[str], shards: int) -> list[np.ndarray]:
    """Return the rows of each shard.

    Raises:
        InputError: `too_many_shards` when a shard would be empty.
    """
    places = np.array([shard_of(seed_id, shards) for seed_id in ids])
    parts = [np.flatnonzero(places == shard) for shard in range(shards)]
    if shards < 1 or any(part.size == 0 for part in parts):
        raise InputError(
            "too_many_shards",
            f"{shards} shards are too many for {len(ids)} seeds: one would be empty; "
            "use fewer",
        )
    return parts
