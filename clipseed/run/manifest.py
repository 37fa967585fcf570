"""The run manifest: what `run.json` says of a run.

    manifest = RunManifest.from_json(json.loads(text))
    manifest.files, manifest.mining.counts[CLIPS], manifest.mining.threshold

A directory without it is not a result. Runs that were mined, and runs that were cut
from a benchmark (`transforms.benchmarks.cut`), both list their files.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from clipseed.elements import SOURCES, TRANSFERRED
from clipseed.run.accounting import Counts, StageAccount, account_for
from clipseed.run.files import RunFile, folder_of

FORMAT = "clipseed-run/3"


class MissingClip(NamedTuple):
    """A clip that a benchmark names and that could not be cut, or not be encoded.

    Attributes:
        clip_id: its name in the benchmark.
        reason: a stable snake_case name.
        message: what is wrong, in words.
        captions: the queries that ask for it.
    """

    clip_id: str
    reason: str
    message: str
    captions: tuple[str, ...]


class CutBenchmark(NamedTuple):
    """The benchmark that a run was cut from.

    Attributes:
        name: protocol and split, `msr_vtt/test`.
        digest: of its annotations.
        missing: the clips that are not in the run.
    """

    name: str
    digest: str
    missing: tuple[MissingClip, ...]


@dataclass(frozen=True)
class IndexFacts:
    """The index that frames were matched with.

    Attributes:
        kind: `exact`, `scann`, or `none` if no seed could be used.
        seeds: in it.
        dimension: of its embeddings; 0 for none.
        recall: measured when it was built; None if there is no index.
        recall_basis: what the recall was measured on.
        audit_pairs: pairs of audited frames and seeds above the stored similarity.
        audit_found: those of them that the index found.
    """

    kind: str
    seeds: int
    dimension: int = 0
    recall: float | None = None
    recall_basis: str = ""
    audit_pairs: int = 0
    audit_found: int = 0

    @property
    def recall_on_frames(self) -> float | None:
        """Share of the audited pairs that were found; None if none were audited."""
        return self.audit_found / self.audit_pairs if self.audit_pairs else None

    def as_json(self) -> dict[str, Any]:
        """Return the entry `index` of `run.json`."""
        return dataclasses.asdict(self) | {"recall_on_frames": self.recall_on_frames}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "IndexFacts":
        """Read what `as_json` returned."""
        return cls(**{f.name: entry[f.name] for f in dataclasses.fields(cls)})


@dataclass(frozen=True, kw_only=True)
class MiningFacts:
    """How a run was made from videos, and what came of it.

    Attributes:
        config: the settings, by flag.
        config_hash: of the settings that decide the result.
        embedder: id of the embedder; for other sources than `TRANSFERRED` that of the
            captioner or recognizer.
        threshold: τ in force, or the score that captions must reach.
        min_similarity: of stored matches, in force.
        versions: of packages.
        started: seconds since the epoch.
        seconds: that the run took.
        counts: all sums.
        seeds_fingerprint: names the seeds, in any order.
        index: that frames were matched with.
        source: of the captions.
    """

    config: Mapping[str, Any]
    config_hash: str
    embedder: str
    threshold: float
    min_similarity: float
    versions: Mapping[str, str]
    started: float
    seconds: float
    counts: Counts
    seeds_fingerprint: int
    index: IndexFacts
    source: str = TRANSFERRED

    @property
    def accounting(self) -> tuple[StageAccount, ...]:
        """The account of each stage."""
        return tuple(account_for(self.counts, self.source))

    def as_json(self) -> dict[str, Any]:
        """Return the entries of `run.json`."""
        entries = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return entries | {
            "counts": self.counts.as_json(),
            "accounting": [stage.as_json() for stage in self.accounting],
            "index": self.index.as_json(),
        }

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> "MiningFacts":
        """Read what `as_json` returned.

        Raises:
            KeyError: an entry is missing.
            ValueError: an entry has another type.
        """
        kinds: dict[str, Any] = {
            "config": dict,
            "config_hash": str,
            "embedder": str,
            "threshold": (int, float),
            "min_similarity": (int, float),
            "versions": dict,
            "started": (int, float),
            "seconds": (int, float),
            "seeds_fingerprint": int,
            "counts": dict,
            "index": dict,
        }
        found = {name: _typed(entries, name, kind) for name, kind in kinds.items()}
        found["counts"] = Counts.from_json(found["counts"])
        found["index"] = IndexFacts.from_json(found["index"])
        found["source"] = str(entries.get("source", TRANSFERRED))
        if found["source"] not in SOURCES:
            raise ValueError(f"source is {found['source']!r}")
        return cls(**found)


@dataclass(frozen=True)
class RunManifest:
    """What a run directory holds, and where it comes from.

    Attributes:
        files: every file but `run.json`.
        mining: None unless the run was mined.
        benchmark: None unless the run was cut from one.
    """

    files: tuple[RunFile, ...]
    mining: MiningFacts | None = None
    benchmark: CutBenchmark | None = None

    def files_of(self, folder: str) -> list[RunFile]:
        """Return the shards of a table, or of `clips`, in order."""
        return [file for file in self.files if folder_of(file) == folder]

    def as_json(self) -> dict[str, Any]:
        """Return the content of `run.json`."""
        mined = self.mining.as_json() if self.mining else {}
        cut = {"benchmark": _benchmark_json(self.benchmark)} if self.benchmark else {}
        files = [file._asdict() for file in self.files]
        return {"format": FORMAT, **mined, **cut, "files": files}

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> "RunManifest":
        """Read what `as_json` returned.

        Raises:
            KeyError: an entry is missing.
            ValueError: an entry has another type.
        """
        benchmark = entries.get("benchmark")
        return cls(
            files=tuple(_files(_typed(entries, "files", list))),
            mining=MiningFacts.from_json(entries) if "counts" in entries else None,
            benchmark=_benchmark(benchmark) if benchmark is not None else None,
        )


def _typed(entries: Mapping[str, Any], name: str, kind: Any) -> Any:
    value = entries[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}")
    return value


def _files(entries: Iterable[Mapping[str, Any]]) -> Iterable[RunFile]:
    kinds = {"path": str, "records": int, "bytes": int, "sha256": str}
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != set(kinds):
            raise ValueError(f"{entry!r} in files is not a file")
        yield RunFile(**{name: _typed(entry, name, kinds[name]) for name in kinds})


def _benchmark_json(benchmark: CutBenchmark) -> dict[str, Any]:
    missing = [clip._asdict() for clip in benchmark.missing]
    return benchmark._asdict() | {"missing": missing}


def _benchmark(entry: Mapping[str, Any]) -> CutBenchmark:
    missing = (
        MissingClip(**clip | {"captions": tuple(clip["captions"])})
        for clip in _typed(entry, "missing", list)
    )
    name, digest = (_typed(entry, key, str) for key in ("name", "digest"))
    return CutBenchmark(name, digest, tuple(missing))
