"""Decide when to train again: when enough published pairs are new to the model.

    if new_pairs(published, read_trained(models)) >= 10_000:
        training = training_of(published, settings)

The training data of the newest model is in `trained.json`, written after the training.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from published import PublishedRun

from clipseed.errors import InputError
from clipseed.io import storage

_FORMAT = "clipseed-trained/1"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Training:
    """A training run.

    Attributes:
        name: of its folder: the newest day, and a hash of data and settings, so that an
            interrupted training resumes in the same folder, and other data never mixes
            in.
        days: digest of each day's run that it learns from.
    """

    name: str
    days: dict[str, str]


def read_trained(models: str) -> dict[str, str]:
    """Read the days that the newest model was trained on, with their digests.

    Raises:
        InputError: `damaged_record`, or it cannot be read.
    """
    uri = storage.join(models, "trained.json")
    if not storage.exists(uri):
        return {}
    try:
        record = json.loads(storage.read_bytes(uri, _MAX_BYTES))
        if record["format"] != _FORMAT:
            raise ValueError(f"its format is {record['format']!r}, not {_FORMAT!r}")
        return dict(record["days"])
    except (ValueError, KeyError, TypeError) as error:
        message = f"{uri} is not a record of a training ({error}); restore it"
        raise InputError("damaged_record", message) from error


def write_trained(models: str, training: Training) -> None:
    """Record atomically that a training has ended."""
    record = {"format": _FORMAT, "model": training.name, "days": training.days}
    data = json.dumps(record, indent=2) + "\n"
    storage.write_bytes(storage.join(models, "trained.json"), data.encode())


def new_pairs(published: Iterable[PublishedRun], trained: dict[str, str]) -> int:
    """Count the pairs of runs that changed since the newest model was trained."""
    unseen = (run for run in published if trained.get(run.day) != run.digest)
    return sum(run.pairs for run in unseen if run.clips)


def training_of(published: Iterable[PublishedRun], settings: list[str]) -> Training:
    """Return the training on all published runs that have clips.

    Args:
        published: the runs; at least one must have clips.
        settings: configuration and overrides.
    """
    days = {run.day: run.digest for run in published if run.clips}
    key = json.dumps([settings, days], sort_keys=True)
    short = hashlib.sha256(key.encode()).hexdigest()[:8]
    return Training(f"{max(days)}-{short}", days)
