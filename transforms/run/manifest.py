"""The end of a job: `pairs.csv`, and `run.json` last.

Every figure is a sum over the elements that flowed, so that at each stage in = out +
dropped can be checked.
"""

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from typing import Any

import apache_beam as beam

from clipseed.elements import TRANSFERRED
from clipseed.io import storage
from clipseed.run.accounting import SEEDS_FINGERPRINT, Counter, Counts
from clipseed.run.files import PAIRS, RunFile, folder_of
from clipseed.run.manifest import IndexFacts, MiningFacts, RunManifest
from clipseed.run.tables import CsvPair, read_pairs
from clipseed.run.writer import RunWriter
from index_service.store.index_directory import IndexManifest

# What an attempt leaves in `work/` for itself, and for the next one if it is killed:
# the seeds' embeddings, and the day that ages count from.
SEEDS_FOLDER = "work/seeds"
AS_OF = "work/as_of"
_PACKAGES = ("clipseed", "apache-beam", "av", "numpy", "scann", "tensorflow")


@dataclass(frozen=True)
class RunInfo:
    """What is known before a run starts.

    Attributes:
        run_dir: the run directory.
        config: the settings, as JSON.
        config_hash: of those that decide the result.
        embedder_id: of the embedder loaded.
        threshold: τ in force.
        min_similarity: of `matches/`, in force.
        started_s: seconds since the epoch.
        keeps_embeddings: whether the embeddings of frames stay in `work/`.
        source: of the captions.
    """

    run_dir: str
    config: dict[str, Any]
    config_hash: str
    embedder_id: str
    threshold: float
    min_similarity: float
    started_s: float
    keeps_embeddings: bool = False
    source: str = TRANSFERRED


def index_facts(
    manifest: IndexManifest | None, audits: Iterable[tuple[int, int]]
) -> IndexFacts:
    """Return what `run.json` says of the index.

    Args:
        manifest: of the index; None if no seed could be used.
        audits: `(found, true)` numbers of pairs of audited frames.
    """
    if manifest is None:
        return IndexFacts("none", 0)
    counted = list(audits)
    return IndexFacts(
        kind=manifest.kind,
        seeds=manifest.count,
        dimension=manifest.dimension,
        recall=manifest.audit.recall,
        recall_basis=manifest.audit.recall_basis,
        audit_pairs=sum(true for _, true in counted),
        audit_found=sum(found for found, _ in counted),
    )


def write_run(
    info: RunInfo,
    sums: Mapping[Counter, int],
    files: Iterable[RunFile],
    index: IndexFacts,
) -> RunManifest:
    """Write `pairs.csv` and, last, `run.json`; return the latter's content."""
    writer = RunWriter(info.run_dir)
    written = sorted(set(files))
    shards = [
        storage.join(info.run_dir, f.path) for f in written if folder_of(f) == PAIRS
    ]
    pairs = chain.from_iterable(map(read_pairs, shards))
    csv_file = writer.write_pairs_csv(CsvPair(*pair[:4]) for pair in pairs)
    for scratch in (SEEDS_FOLDER, AS_OF) if info.keeps_embeddings else ("work",):
        storage.remove_tree(storage.join(info.run_dir, scratch))
    counts = {c: n for c, n in sums.items() if c != SEEDS_FINGERPRINT}
    mining = MiningFacts(
        config=info.config,
        config_hash=info.config_hash,
        embedder=info.embedder_id,
        threshold=info.threshold,
        min_similarity=info.min_similarity,
        versions=_versions(),
        started=info.started_s,
        seconds=round(time.time() - info.started_s, 3),
        counts=Counts(counts),
        seeds_fingerprint=sums.get(SEEDS_FINGERPRINT, 0),
        index=index,
        source=info.source,
    )
    for stage in mining.accounting:
        if not stage.balanced:
            logging.error("accounting does not balance: %s", stage)
    manifest = RunManifest((csv_file, *written), mining)
    writer.finish(manifest)
    return manifest


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _finish(
    _: None,
    info: RunInfo,
    sums: Mapping[Counter, int],
    files: Iterable[RunFile],
    manifests: Iterable[IndexManifest],
    audits: Iterable[tuple[int, int]],
) -> Iterator[RunManifest]:
    index = index_facts(next(iter(manifests), None), audits)
    yield write_run(info, sums, files, index)


@dataclass(eq=False)
class WriteRunManifest(beam.PTransform):
    """Wait for everything, then write `pairs.csv` and `run.json`.

    Attributes:
        info: what was known before.
        tallies: `(Counter, sum)` pairs; those of a counter are added up.
        files: every `RunFile` of the run.
        manifests: of the index, if one was built.
        audits: `(found, true)` pairs counted on frames.
    """

    info: RunInfo
    tallies: beam.PCollection
    files: beam.PCollection
    manifests: beam.PCollection
    audits: beam.PCollection

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Write once, when all inputs are complete."""
        sums = (
            self.tallies
            | beam.Map(lambda tally: tally).with_output_types(tuple[Counter, int])
            | "AddUp" >> beam.CombinePerKey(sum)
        )
        return (
            pipeline
            | "Once" >> beam.Create([None], reshuffle=False)
            | "Write"
            >> beam.FlatMap(
                _finish,
                self.info,
                beam.pvalue.AsDict(sums),
                beam.pvalue.AsIter(self.files),
                beam.pvalue.AsIter(self.manifests),
                beam.pvalue.AsIter(self.audits),
            )
        )
