"""The pointer to what is published: `latest.json`, beside the days' runs.

    runs = read_published("gs://bucket/mined")
    write_published("gs://bucket/mined", with_run(runs, new))

A day has two places, `runs/DAY/a` and `runs/DAY/b`. It is mined into the one that is
not published, so that nobody who follows the pointer meets a run half written.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from clipseed.errors import InputError
from clipseed.io import storage
from clipseed.run.accounting import CLIPS, FRAMES_EMBEDDED, PAIRS
from clipseed.run.files import PAIRS_CSV, RunFile, folder_of
from clipseed.run.reader import Run

_FORMAT = "clipseed-published/1"
_POINTER = "latest.json"
_MAX_POINTER_BYTES = 64 << 20
_RESULTS = ("pairs", "clips")


@dataclass(frozen=True)
class PublishedRun:
    """A day's run, as the pointer lists it.

    Attributes:
        day: ISO date.
        run: its directory, from the pointer's folder.
        digest: of the published files' checksums.
        embedder: that found the matches; with `seeds` and `threshold` it says which
            runs may be compared.
        frames: embedded ones.
        matches: above the threshold.
        clips: records.
        pairs: rows of `pairs.csv`.
    """

    day: str
    run: str
    digest: str
    embedder: str
    seeds: str
    threshold: float
    frames: int
    matches: int
    clips: int
    pairs: int


def describe(day: str, place: str, run: Run) -> PublishedRun:
    """Return what the pointer says of a run.

    Args:
        day: ISO date.
        place: of the run, from the folder of the pointer.
        run: as it was mined.

    Raises:
        InputError: `not_mined`.
    """
    mining = run.mining
    counts = mining.counts
    return PublishedRun(
        day=day,
        run=place,
        digest=digest(run.manifest.files),
        embedder=mining.embedder,
        seeds=mining.config["seeds"],
        threshold=mining.threshold,
        frames=counts[FRAMES_EMBEDDED],
        matches=counts.matches_above_threshold,
        clips=counts[CLIPS],
        pairs=counts[PAIRS],
    )


def digest(files: Iterable[RunFile]) -> str:
    """Name the result of a run by the checksums of its pairs and clips."""
    lines = sorted(
        f"{file.sha256} {file.path}\n"
        for file in files
        if file.path == PAIRS_CSV or folder_of(file) in _RESULTS
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def find(runs: Iterable[PublishedRun], day: str) -> PublishedRun | None:
    """Return the published run of a day, or None."""
    return next((run for run in runs if run.day == day), None)


def free_place(runs: Iterable[PublishedRun], day: str) -> str:
    """Return the folder to mine a day in: the one that the pointer does not name."""
    published = find(runs, day)
    return f"runs/{day}/{'b' if published and published.run.endswith('/a') else 'a'}"


def with_run(runs: Iterable[PublishedRun], new: PublishedRun) -> list[PublishedRun]:
    """Add a run to the list; it replaces the earlier run of its day."""
    return sorted([*without_day(runs, new.day), new], key=lambda run: run.day)


def without_day(runs: Iterable[PublishedRun], day: str) -> list[PublishedRun]:
    """Take a day off the list."""
    return [run for run in runs if run.day != day]


def read_published(root: str) -> list[PublishedRun]:
    """Read the published runs, by day; none before the first publication.

    Args:
        root: the folder of the pointer, local or `gs://`.

    Raises:
        InputError: `damaged_pointer`, or the pointer cannot be read.
    """
    uri = storage.join(root, _POINTER)
    if not storage.exists(uri):
        return []
    try:
        pointer = json.loads(storage.read_bytes(uri, _MAX_POINTER_BYTES))
        if pointer["format"] != _FORMAT:
            raise ValueError(f"its format is {pointer['format']!r}, not {_FORMAT!r}")
        return [PublishedRun(**run) for run in pointer["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{uri} is not a list of published runs ({error}); restore it"
        raise InputError("damaged_pointer", message) from error


def write_published(root: str, runs: list[PublishedRun]) -> None:
    """Replace the pointer atomically; the same runs yield the same bytes."""
    pointer = {
        "format": _FORMAT,
        "latest": runs[-1].run if runs else None,
        "runs": [asdict(run) for run in runs],
    }
    data = json.dumps(pointer, indent=2, ensure_ascii=False) + "\n"
    storage.write_bytes(storage.join(root, _POINTER), data.encode())


def publish(root: str, new: PublishedRun) -> PublishedRun:
    """Move the pointer to a run, and removes what its day had in the other place.

    Where the day's published run holds the same, that one stays, and the new one goes:
    mining a day again changes nothing.

    Returns:
        the run that is published now.
    """
    runs = read_published(root)
    old = find(runs, new.day)
    if old == new:
        return new
    if old is not None and replace(old, run=new.run) == new:
        storage.remove_tree(storage.join(root, new.run))
        return old
    write_published(root, with_run(runs, new))
    if old is not None and old.run != new.run:
        storage.remove_tree(storage.join(root, old.run))
    return new
