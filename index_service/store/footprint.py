"""Ways to store an index, and the memory that each takes."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from clipseed.errors import InputError
from index_service.store.tuning import Reorder

Vectors = Literal["float32", "bfloat16"]
_VALUE_BYTES = {"float32": 4, "bfloat16": 2}
_POINTER_BYTES = 8


@dataclass(frozen=True)
class Storage:
    """A way to store an index.

    Attributes:
        vectors: type of the vectors that scores are computed from.
        reorder: how ScaNN orders candidates; None for exact search.
    """

    vectors: Vectors
    reorder: Reorder | None


def ways(vectors: Sequence[Vectors], with_scann: bool) -> list[Storage]:
    """List the ways to store an index, the fastest first."""
    reorders = get_args(Reorder) if with_scann else ()
    return [Storage(v, r) for r in reorders for v in vectors] + [
        Storage(v, None) for v in vectors
    ]


def memory_bytes(
    ids: Sequence[str],
    dimension: int,
    storage: Storage,
    leaves: int,
    block_dims: int = 2,
) -> int:
    """Estimate the memory of a loaded index, including its mapped vectors.

    Args:
        ids: of the seeds.
        dimension: d.
        storage: the way it is stored.
        leaves: of ScaNN's tree; 0 for none.
        block_dims: dimensions that share 4 bits of a code; the default takes most.
    """
    count = len(ids)
    table = sum(map(sys.getsizeof, ids)) + count * _POINTER_BYTES
    rows = count * dimension * _VALUE_BYTES[storage.vectors]
    if storage.reorder is None:
        return table + rows
    # Half a byte per block and copy; a tree holds two copies, and loading takes more.
    codes = count * -(-dimension // block_dims)
    copy = count * dimension * 2 if storage.reorder == "bfloat16" else 0
    tree = leaves * dimension * 4 + count * 8 if leaves else 0
    return table + rows + codes + copy + tree


def fitting(
    ids: Sequence[str],
    dimension: int,
    storages: Sequence[Storage],
    leaves: int,
    limit_bytes: int | None,
) -> list[Storage]:
    """Return the ways within a memory limit.

    Raises:
        InputError: `memory_limit` if there are none.
    """
    needs = [memory_bytes(ids, dimension, storage, leaves) for storage in storages]
    if limit_bytes is None:
        return list(storages)
    kept = [s for s, need in zip(storages, needs, strict=True) if need <= limit_bytes]
    if not kept:
        raise InputError(
            "memory_limit",
            f"{len(ids)} seeds of dimension {dimension} need at least {min(needs)} "
            f"bytes, but the limit is {limit_bytes}; raise it, allow bfloat16 vectors "
            "or use more shards",
        )
    return kept


def encode(vectors: np.ndarray, kind: Vectors) -> np.ndarray:
    """Convert float32 [n, d] to the type that is stored."""
    if kind == "float32":
        return vectors
    import ml_dtypes

    return vectors.astype(ml_dtypes.bfloat16)
