"""`clipseed index audit`: the recall and speed of an index, at several settings."""

import sys
from collections.abc import Sequence

from rich.text import Text

from beam_pipeline.report.terminal import Block, show, table
from clipseed.errors import InputError
from clipseed.flags import CommandLine, flag, flags


@flags
class AuditFlags:
    """All flags of `clipseed index audit`."""

    index: str = flag(
        "Index, shard or directory of shards, local or gs://", positional=True
    )
    queries: str = flag(
        "Embeddings to search for: Parquet (column 'embedding') or npy files",
        metavar="PATH",
    )
    threshold: float | None = flag(
        "Similarity above which pairs count",
        default=None,
        default_text="what the index was built for",
        at_least=-1,
        below=1,
    )
    sample: int = flag(
        "Number of queries to search for, spread evenly", default=2000, at_least=1
    )


COMMAND_LINE = CommandLine(
    "clipseed index audit",
    AuditFlags,
    "Print the recall and speed of an index at several settings, relative to exact "
    "search.",
)


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed index audit`; return 0, or 2 for what cannot be used."""
    given = COMMAND_LINE.parse(arguments)
    try:
        for block in audit(given):
            show(block)
    except InputError as error:
        print(f"clipseed index audit: {error.message}", file=sys.stderr)
        return 2
    return 0


def audit(given: AuditFlags) -> list[Block]:
    """Return what was audited, and a table of settings, recall and speed.

    Raises:
        InputError: the index or the queries cannot be used.
    """
    import numpy as np

    from index_service.build.compare import COLUMNS, as_cells, compare, format_rows
    from index_service.build.read_embeddings import read_embeddings
    from index_service.search.open_index import open_index
    from index_service.store.embeddings import check_queries

    queries = read_embeddings(given.queries)
    index = open_index(given.index, queries.embedder, queries.vectors.shape[1])
    manifest = index.manifest
    rows = np.linspace(0, len(queries.vectors) - 1, given.sample).astype(np.int64)
    sample = queries.vectors[np.unique(rows)]
    check_queries(sample, manifest.dimension)
    threshold = manifest.threshold if given.threshold is None else given.threshold
    notes = [
        f"{manifest.count:,} seeds of dimension {manifest.dimension}, "
        f"{len(sample):,} queries, pairs above {threshold}; * as built, with recall "
        f"{manifest.audit.recall:.4f} above {manifest.threshold}"
    ]
    if manifest.vectors != "float32":
        stored = manifest.vectors
        notes.append(f"Recall here is of the pairs of the stored {stored} vectors.")
    found = compare(index, sample, threshold)
    drawn = table("", COLUMNS, map(as_cells, found), numbers=COLUMNS[1:])
    heading = "\n".join(notes)
    return [Block(heading, Text(heading)), Block(format_rows(found), drawn)]
