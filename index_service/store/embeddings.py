"""Checks of embeddings: float32 [n, d], finite, unit norm."""

import numpy as np

from clipseed.errors import InputError

NORM_TOLERANCE = 1e-3
_BLOCK_ROWS = 1 << 14


def check_matrix(rows: np.ndarray, dimension: int | None = None) -> None:
    """Check that an array is float32 [n, d] with d > 0.

    Raises:
        InputError: `wrong_shape` or `wrong_dtype`.
    """
    if (
        rows.ndim != 2
        or rows.shape[1] == 0
        or rows.shape[1] != (dimension or rows.shape[1])
    ):
        raise InputError(
            "wrong_shape",
            f"embeddings have shape {list(rows.shape)}; pass [n, {dimension or 'd'}]",
        )
    if rows.dtype != np.float32:
        raise InputError("wrong_dtype", f"embeddings are {rows.dtype}; pass float32")


def first_bad_row(rows: np.ndarray) -> tuple[int, str] | None:
    """Find the first row that is not a finite unit vector.

    Args:
        rows: float32 [n, d].

    Returns:
        The row and `not_finite`, `zero_norm` or `not_unit_norm`; None if all are good.
    """
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS].astype(np.float64)
        norms = np.sqrt((block * block).sum(axis=1))
        bad = np.flatnonzero(~(np.abs(norms - 1.0) <= NORM_TOLERANCE))
        if bad.size:
            norm = norms[bad[0]]
            reason = (
                "not_finite"
                if not np.isfinite(norm)
                else "zero_norm"
                if norm == 0
                else "not_unit_norm"
            )
            return start + int(bad[0]), reason
    return None


def check_queries(queries: np.ndarray, dimension: int) -> None:
    """Check that similarities of the queries have a meaning.

    ScaNN answers a NaN query with id 0, so such a query must never reach it.

    Args:
        queries: float32 [m, d].
        dimension: d of the index.

    Raises:
        InputError: `wrong_shape`, `wrong_dtype`, `not_finite`, `zero_norm` or
            `not_unit_norm`.
    """
    check_matrix(queries, dimension)
    bad = first_bad_row(queries)
    if bad is not None:
        row, reason = bad
        raise InputError(
            reason,
            f"query row {row} is not a finite unit vector ({reason}); drop or "
            "normalize it",
        )
