"""The reader of run directories, local or on Google Cloud Storage.

    run = Run.open("gs://bucket/run", verify="checksums")
    for pair in run.pairs(): ...
    for clip in run.clips(): ...

Needs neither Beam nor TensorFlow.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from clipseed.elements import Pair, RankedMatch
from clipseed.errors import DeadLetter, InputError
from clipseed.hashing import checksum, shard_of
from clipseed.io import storage
from clipseed.io.gcs import blob_of, input_errors, is_gs
from clipseed.run import tables
from clipseed.run.clip_record import ClipRecord, decode
from clipseed.run.clips import RunClips, find_records
from clipseed.run.files import (
    CLIPS,
    MATCHES,
    PAIRS,
    PAIRS_CSV,
    REJECTED,
    RUN_JSON,
    SEEDS,
    VIDEOS,
    RunFile,
)
from clipseed.run.manifest import FORMAT, MiningFacts, RunManifest
from clipseed.run.outcomes import SeedOutcome, VideoOutcome
from clipseed.run.tfrecord import read_records

Verify = Literal["nothing", "sizes", "checksums"]

_MAX_MANIFEST_BYTES = 1 << 28


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        uri: its directory, local or `gs://`.
        manifest: what `run.json` says.
    """

    uri: str
    manifest: RunManifest

    @classmethod
    def open(cls, uri: str | os.PathLike[str], verify: Verify = "sizes") -> "Run":
        """Open a finished run.

        Args:
            uri: its directory, local or `gs://`.
            verify: what is compared with the manifest first: `nothing`, the `sizes` of
                all files, or their `checksums` too, which reads every byte.

        Raises:
            InputError: `not_a_run` if there is no finished run of this format;
                `damaged_run` if a file is missing or differs, or `run.json` cannot be
                read.
        """
        run = cls(os.fspath(uri), _read_manifest(os.fspath(uri)))
        for problem in run.problems(verify):
            message = f"{problem}; copy the run again or mine it again"
            raise InputError("damaged_run", message)
        return run

    def problems(self, verify: Verify = "checksums") -> Iterator[str]:
        """Yield how the files differ from what the manifest says of them."""
        for file in self.manifest.files if verify != "nothing" else ():
            uri = storage.join(self.uri, file.path)
            try:
                if _size(uri) != file.bytes:
                    yield f"{uri} has another size than run.json says"
                elif verify == "checksums" and _checksum(uri) != file.sha256:
                    yield f"{uri} has another checksum than run.json says"
            except InputError as error:
                yield error.message

    @property
    def mining(self) -> MiningFacts:
        """How the run was mined.

        Raises:
            InputError: `not_mined`: it was cut from a benchmark.
        """
        if self.manifest.mining is None:
            message = f"{self.uri} was not mined but cut from a benchmark: no counts"
            raise InputError("not_mined", message)
        return self.manifest.mining

    def uris(self, folder: str) -> list[str]:
        """Return the files of a table such as `pairs`, or of `clips`, in order."""
        files = self.manifest.files_of(folder)
        return [storage.join(self.uri, file.path) for file in files]

    def uri_for(self, folder: str, key: str) -> str:
        """Return the file that the rows of a key are in.

        Args:
            folder: `pairs`, `clips` and `videos` are keyed by video id, `matches` by
                seed id, `seeds` by the image's reference, `rejected` by the key of the
                dead letter.
            key: see `folder`.
        """
        uris = self.uris(folder)
        return uris[shard_of(key, len(uris))]

    def pairs(self) -> Iterator[Pair]:
        """Yield the clip-caption pairs with their provenance, as `pairs.csv` has them.

        Raises:
            InputError: `not_mined`: only `pairs_csv` is there; `damaged_run`.
        """
        return self._rows(PAIRS, tables.read_pairs)

    def matches(self) -> Iterator[RankedMatch]:
        """Yield all stored matches, those of a seed together, the best first.

        Raises:
            InputError: `not_mined` or `damaged_run`.
        """
        return self._rows(MATCHES, tables.read_matches)

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Yield the rejected inputs.

        Raises:
            InputError: `not_mined` or `damaged_run`.
        """
        return self._rows(REJECTED, tables.read_dead_letters)

    def videos(self) -> Iterator[VideoOutcome]:
        """Yield what came of each video that passed the filters.

        Raises:
            InputError: `not_mined` or `damaged_run`.
        """
        return self._rows(VIDEOS, tables.read_videos)

    def seeds(self) -> Iterator[SeedOutcome]:
        """Yield what came of each seed image.

        Raises:
            InputError: `not_mined` or `damaged_run`.
        """
        return self._rows(SEEDS, tables.read_seeds)

    def pairs_csv(self) -> Iterator[tables.CsvPair]:
        """Yield the rows of `pairs.csv`, which every run has."""
        return tables.read_pairs_csv(storage.join(self.uri, PAIRS_CSV))

    def clips(self) -> Iterator[ClipRecord]:
        """Yield the clips with their frames, sound and captions, shard by shard.

        Raises:
            InputError: `damaged_shard` or `bad_record`.
        """
        for uri in self.uris(CLIPS):
            yield from read_clips_file(uri)

    def open_clips(self, verify_checksums: bool = False) -> RunClips:
        """Find the records of all clips, to read them in any order.

        Raises:
            InputError: `damaged_run` with the name of the file, or `no_clips`.
        """
        shards = self.manifest.files_of(CLIPS)
        places = find_records(self.uri, shards, verify_checksums)
        if not len(places):
            message = f"{self.uri} holds no clip; mine with other settings"
            raise InputError("no_clips", message)
        benchmark = self.manifest.benchmark
        return RunClips(self.uri, tuple(self.uris(CLIPS)), places, benchmark)

    def _rows(self, folder: str, read: Any) -> Iterator[Any]:
        assert self.mining  # Says that a benchmark has no such tables.
        files: Iterable[RunFile] = self.manifest.files_of(folder)
        for file in files:
            if file.records:
                yield from read(storage.join(self.uri, file.path))


def read_clips_file(uri: str) -> Iterator[ClipRecord]:
    """Yield the clips of one shard, local or `gs://`.

    Raises:
        InputError: `damaged_shard`, `bad_record` or `not_found`.
    """
    return map(decode, read_records(uri))


def is_run(uri: str) -> bool:
    """Return whether there is a finished run; it may still be damaged."""
    return storage.exists(storage.join(uri, RUN_JSON))


def _read_manifest(run_dir: str) -> RunManifest:
    uri = storage.join(run_dir, RUN_JSON)
    try:
        entries = json.loads(storage.read_bytes(uri, _MAX_MANIFEST_BYTES))
    except InputError as error:
        reason = "not_a_run" if error.reason == "not_found" else error.reason
        raise InputError(
            reason,
            f"{run_dir} is not a finished run ({error.message}): it is still running, "
            "or was interrupted; mine again with this --output",
        ) from error
    except ValueError as error:
        raise _damaged_manifest(run_dir, f"it is not JSON: {error}") from error
    written = entries.get("format") if isinstance(entries, dict) else None
    if written != FORMAT:
        raise InputError(
            "not_a_run",
            f"{run_dir} is not a finished run of format {FORMAT}: {uri} has the format "
            f"{written!r}; mine it again",
        )
    try:
        return RunManifest.from_json(entries)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged_manifest(run_dir, f"{error!r}") from error


def _damaged_manifest(run_dir: str, problem: str) -> InputError:
    return InputError(
        "damaged_run",
        f"{run_dir} is not a finished run: its {RUN_JSON} is damaged ({problem}); copy "
        "the run again or mine it again",
    )


def _size(uri: str) -> int:
    """Return the size of a file in bytes without reading it, however large the run."""
    with input_errors(uri):
        if not is_gs(uri):
            return os.path.getsize(uri)
        blob = blob_of(uri)
        blob.reload()
        return blob.size


def _checksum(uri: str) -> str:
    with storage.localize(uri) as path, input_errors(uri):
        return checksum(path)
