"""How an index searches, and how well: what tuning leaves in its manifest."""

from dataclasses import dataclass
from typing import Literal

Reorder = Literal["bfloat16", "none"]


@dataclass(frozen=True)
class ScannSettings:
    """How ScaNN searches.

    Attributes:
        leaves: partitions of the tree; 0 for no tree (every code is scored).
        leaves_to_search: partitions visited by a query; 0 without a tree.
        depth: candidates returned per query.
        reorder: how ScaNN orders candidates: by its bfloat16 copy of the vectors (then
            few need an exact score), or by their codes alone.
        block_dims: dimensions that share 4 bits of a seed's code.
    """

    leaves: int
    leaves_to_search: int
    depth: int
    reorder: Reorder = "bfloat16"
    block_dims: int = 2

    def words(self) -> str:
        """Describe the settings: `31 of 1000 leaves, depth 64`."""
        tree = f"{self.leaves_to_search} of {self.leaves} leaves, "
        return f"{tree if self.leaves else ''}depth {self.depth}"


@dataclass(frozen=True)
class Recall:
    """Recall on the queries of one source.

    Attributes:
        source: `queries` (the caller's) or `seeds`.
        queries: number of queries.
        pairs: pairs that exact search finds, without those of a seed with itself.
        recall: share of the pairs that the index finds.
    """

    source: str
    queries: int
    pairs: int
    recall: float


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: the settings.
        recall: on the tuning half, of the worst source.
        recall_held_out: on the held-out half; None if the tuning half fell short.
        queries_per_s: for information only; has no influence on the choice.
    """

    settings: ScannSettings
    recall: float
    recall_held_out: float | None
    queries_per_s: float


@dataclass(frozen=True)
class Audit:
    """The measured recall of an index.

    Attributes:
        recall: held out, of the worst source; 1 for an exact index of float32.
        recall_basis: `pairs_above_threshold`; `top_10` (the nearest seeds of each
            query, if the sample has too few pairs above the threshold); `exact`.
        held_out: the recall by source of queries.
        trials: settings tried, in order.
    """

    recall: float
    recall_basis: str
    held_out: tuple[Recall, ...] = ()
    trials: tuple[Trial, ...] = ()
