"""`clipseed index`: build an index, audit it, serve it."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

import numpy as np

from clipseed.errors import InputError

_USAGE = """usage: clipseed index COMMAND [FLAGS]

commands:
  build  build an index of embeddings, or of seed images
  audit  print recall and speed of an index beside exact search
  serve  answer searches over gRPC

`clipseed index COMMAND --help` lists a command's flags."""

_MODULES = {
    "build": "beam_pipeline.commands.index_build",
    "audit": "beam_pipeline.commands.index",
    "serve": "beam_pipeline.commands.index_serve",
}
_AUDIT_QUERIES = 2_000


def run(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; gives the exit status: 2 for what is refused."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if arguments else 2
    name, rest = arguments[0], arguments[1:]
    if name not in _MODULES:
        print(f"clipseed index: unknown command {name!r}\n{_USAGE}", file=sys.stderr)
        return 2
    command: Callable[[Sequence[str]], int] = audit
    if name != "audit":
        command = importlib.import_module(_MODULES[name]).run
    try:
        return command(rest)
    except InputError as reject:
        print(f"clipseed index {name}: {reject.message}", file=sys.stderr)
        return 2


def audit(argv: Sequence[str]) -> int:
    """Prints a table of settings, recall and speed.

    Raises:
        InputError: the index or the queries cannot be used.
    """
    from index_service.build.compare import compare, format_rows
    from index_service.build.read_embeddings import read_embeddings
    from index_service.search.open_index import open_index
    from index_service.store.embeddings import check_queries

    flags = _audit_parser().parse_args(argv)
    queries = read_embeddings(flags.queries)
    index = open_index(flags.index, queries.embedder, queries.vectors.shape[1])
    manifest = index.manifest
    rows = np.linspace(0, len(queries.vectors) - 1, flags.sample).astype(np.int64)
    sample = queries.vectors[np.unique(rows)]
    check_queries(sample, manifest.dimension)
    threshold = manifest.threshold if flags.threshold is None else flags.threshold
    print(
        f"{manifest.count:,} seeds of dimension {manifest.dimension}, "
        f"{len(sample):,} queries, pairs above {threshold}; * as built, with recall "
        f"{manifest.audit.recall:.4f} above {manifest.threshold}"
    )
    if manifest.vectors != "float32":
        print(f"Recall here is of the pairs of the stored {manifest.vectors} vectors.")
    print(format_rows(compare(index, sample, threshold)))
    return 0


def _audit_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipseed index audit", allow_abbrev=False, description=audit.__doc__
    )
    add = parser.add_argument
    add("index", help="index, shard or directory of shards, local or gs://")
    add("--queries", required=True, help="Parquet (column 'embedding') or npy files")
    add("--threshold", type=float, help="default: what the index was built for")
    add("--sample", type=int, default=_AUDIT_QUERIES,
        help="queries to search for, spread evenly")  # fmt: skip
    return parser
