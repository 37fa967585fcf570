"""`run.json`: what a run did, written last and by the job itself.

A directory without it is not a result. Every figure is a sum over the elements that
flowed, so that at each stage in = out + dropped can be checked.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import apache_beam as beam

from clipseed.io import storage
from index_service.store.index_directory import IndexManifest
from transforms.run.shards import WrittenFile, describe_file
from transforms.run.tables import write_pairs_csv

FORMAT = "clipseed-run/1"
# What an attempt leaves in `work/` for itself, and for the next one if it is killed:
# the seeds' embeddings, and the day that ages count from.
SEEDS_FOLDER = "work/seeds"
AS_OF = "work/as_of"
# The tally that names the seeds; not a figure of the run.
SEEDS_FINGERPRINT = "seeds_fingerprint"
_PACKAGES = ("clipseed", "apache-beam", "av", "numpy", "scann", "tensorflow")


@dataclass(eq=False)
class Tally(beam.PTransform):
    """Sums a number over a collection: gives one `(name, sum)`, or nothing.

    Attributes:
        name: of the figure.
        size: of an element; 1 when not given.
    """

    name: str
    size: Callable[[Any], int] | None = None

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        """Adds up."""
        size = self.size or _one
        return (
            elements
            | beam.Map(lambda e, name=self.name: (name, size(e))).with_output_types(
                tuple[str, int]
            )
            | beam.CombinePerKey(sum)
        )


def _one(_: Any) -> int:
    return 1


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
        keeps_embeddings: whether frames' embeddings stay in `work/`.
    """

    run_dir: str
    config: dict[str, Any]
    config_hash: str
    embedder_id: str
    threshold: float
    min_similarity: float
    started_s: float
    keeps_embeddings: bool = False


def accounting(tallies: dict[str, int]) -> list[dict[str, Any]]:
    """Stage by stage what came in, what went out, and what was dropped why."""

    def get(name: str) -> int:
        return tallies.get(name, 0)

    def stage(name: str, came: int, out: int, letters: tuple[str, ...]) -> dict:
        dropped = {
            key.split("/")[2]: count
            for key, count in sorted(tallies.items())
            if key.startswith("rejected/") and key.split("/")[1] in letters
        }
        return {"stage": name, "in": came, "out": out, "dropped": dropped}

    read, listed = ("read_seeds",), ("list_videos", "filter_videos")
    stages = [
        stage("read_seeds", get("seed_rows") + _sum(tallies, read),
              get("seed_rows"), read),
        stage("load_seeds", get("seed_rows"), get("seeds"), ("load_seeds",)),
        stage("embed_seeds", get("images"), get("images_embedded"), ("embed_seeds",)),
        stage("list_videos", get("videos") + _sum(tallies, listed),
              get("videos"), listed),
        stage("extract_frames", get("videos"), get("videos_mined"), ()),
        stage("embed_frames", get("frames"), get("frames_embedded"),
              ("embed_frames",)),
        stage("select_matches", get("matches"), get("selected"), ()),
        stage("write_clips", get("cuts"), get("cuts_written"), ("write_clips",)),
    ]  # fmt: skip
    stages[4]["dropped"] = {"failed": get("videos_failed")}
    stages[6]["dropped"] = {
        "below_threshold": get("matches") - get("matches_above_threshold"),
        "not_among_the_best": get("matches_above_threshold") - get("selected"),
    }
    for row in stages:
        row["balanced"] = row["in"] == row["out"] + sum(row["dropped"].values())
        if not row["balanced"]:
            logging.error("accounting does not balance: %s", row)
    return stages


def _sum(tallies: dict[str, int], letters: tuple[str, ...]) -> int:
    return sum(
        count
        for key, count in tallies.items()
        if key.startswith("rejected/") and key.split("/")[1] in letters
    )


def _index_facts(
    manifest: IndexManifest | None, audits: Iterable[tuple[int, int]]
) -> dict[str, Any]:
    if manifest is None:
        return {"kind": "none", "seeds": 0, "recall": None}
    counted = list(audits)
    found, true = sum(a[0] for a in counted), sum(a[1] for a in counted)
    return {
        "kind": manifest.kind,
        "seeds": manifest.count,
        "dimension": manifest.dimension,
        "recall": manifest.audit.recall,
        "recall_basis": manifest.audit.recall_basis,
        "audit_on_frames": {
            "pairs": true,
            "found": found,
            "recall": found / true if true else None,
        },
    }


def write_run(
    info: RunInfo,
    tallies: dict[str, int],
    files: Iterable[WrittenFile],
    manifest: IndexManifest | None,
    audits: Iterable[tuple[int, int]],
) -> dict[str, Any]:
    """Writes `pairs.csv` and, last, `run.json`; gives the latter's content."""
    written = sorted(set(files))
    csv_file = _write_pairs_csv(info.run_dir, written)
    for scratch in (SEEDS_FOLDER, AS_OF) if info.keeps_embeddings else ("work",):
        storage.remove_tree(storage.join(info.run_dir, scratch))
    counts = {k: n for k, n in sorted(tallies.items()) if k != SEEDS_FINGERPRINT}
    run = {
        "format": FORMAT,
        "config": info.config,
        "config_hash": info.config_hash,
        "embedder": info.embedder_id,
        "threshold": info.threshold,
        "min_similarity": info.min_similarity,
        "versions": _versions(),
        "started": info.started_s,
        "seconds": round(time.time() - info.started_s, 3),
        "counts": counts,
        "seeds_fingerprint": tallies.get(SEEDS_FINGERPRINT, 0),
        "accounting": accounting(tallies),
        "index": _index_facts(manifest, audits),
        "files": [file._asdict() for file in (csv_file, *written)],
    }
    data = json.dumps(run, indent=2, ensure_ascii=False) + "\n"
    storage.write_bytes(storage.join(info.run_dir, "run.json"), data.encode())
    return run


def _write_pairs_csv(run_dir: str, files: Iterable[WrittenFile]) -> WrittenFile:
    shards = [file.path for file in files if file.path.startswith("pairs/")]
    with (
        contextlib.ExitStack() as stack,
        storage.writing(storage.join(run_dir, "pairs.csv")) as path,
    ):
        uris = (storage.join(run_dir, shard) for shard in shards)
        local = (stack.enter_context(storage.localize(uri)) for uri in uris)
        rows = write_pairs_csv(path, local)
        return describe_file(path, "pairs.csv", rows)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _finish(
    _: None,
    info: RunInfo,
    tallies: dict[str, int],
    files: Iterable[WrittenFile],
    manifests: Iterable[IndexManifest],
    audits: Iterable[tuple[int, int]],
) -> Iterator[dict[str, Any]]:
    yield write_run(info, tallies, files, next(iter(manifests), None), list(audits))


@dataclass(eq=False)
class WriteRunManifest(beam.PTransform):
    """Waits for everything, then writes `pairs.csv` and `run.json`.

    Attributes:
        info: what was known before.
        tallies: `(name, sum)` pairs; those of a name are added up.
        files: every `WrittenFile` of the run.
        manifests: the index's, if one was built.
        audits: `(found, true)` pairs counted on frames.
    """

    info: RunInfo
    tallies: beam.PCollection
    files: beam.PCollection
    manifests: beam.PCollection
    audits: beam.PCollection

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """One element, one write."""
        sums = (
            self.tallies
            | beam.Map(lambda tally: tally).with_output_types(tuple[str, int])
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
