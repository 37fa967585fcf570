"""AudioCaps and Clotho: several captions a sound, each a query of its own."""

import math
from collections.abc import Iterator

from clipseed.errors import InputError
from transforms.benchmarks.annotations import (
    Annotated,
    bad_row,
    csv_rows,
    duplicates,
    find,
)

_AUDIOCAPS_US = 10_000_000
_CLOTHO_FILES = {
    "train": ["clotho_captions_development.csv", "development.csv"],
    "val": ["clotho_captions_validation.csv", "validation.csv"],
    "test": ["clotho_captions_evaluation.csv", "evaluation.csv"],
}
_CLOTHO_CAPTIONS = 5


def read_audiocaps(directory: str, split: str) -> Iterator[Annotated]:
    """Read AudioCaps' `audiocap_id,youtube_id,start_time,caption`: clips of 10 s.

    Rows of a clip share (youtube_id, start_time) but need not be adjacent. Leaving out
    clips whose links are dead, or that are also in VGGSound, is up to the caller: see
    `Benchmark.only` (the paper keeps 47,107, 403 and 778).

    Args:
        directory: of `train.csv`, `val.csv`, `test.csv`, or `audiocaps_train.csv`, ...
        split: `train`, `val` or `test`.

    Raises:
        InputError: `no_annotations`, `bad_annotation`.
    """
    uri = find(directory, [f"{split}.csv", f"audiocaps_{split}.csv"])
    columns = ("youtube_id", "start_time", "caption")
    for number, (video, start, caption) in csv_rows(uri, columns):
        start_us = _microseconds(uri, number, start)
        name = f"{video}_{start_us / 1_000_000:g}"
        end_us = start_us + _AUDIOCAPS_US
        yield Annotated(caption, name, video, start_us, end_us)


def _microseconds(uri: str, number: int, seconds: str) -> int:
    try:
        found = float(seconds)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise bad_row(uri, number, f"{seconds!r} is not a start_time in seconds")
    return round(found * 1_000_000)


def read_clotho(directory: str, split: str) -> Iterator[Annotated]:
    """Read Clotho's `file_name,caption_1,...,caption_5`, UTF-8 or ISO-8859-1.

    Args:
        directory: of `clotho_captions_{development,validation,evaluation}.csv`.
        split: `train`, `val` (version 2 has one) or `test`.

    Raises:
        InputError: `no_annotations`, `bad_annotation`.
    """
    if split not in _CLOTHO_FILES:
        raise InputError(
            "no_annotations", f"Clotho has no split {split!r}: say train, val or test"
        )
    uri = find(directory, _CLOTHO_FILES[split])
    numbers = range(1, _CLOTHO_CAPTIONS + 1)
    columns = ("file_name", *(f"caption_{number}" for number in numbers))
    rows = [cells for _, cells in csv_rows(uri, columns, latin_1=True)]
    for twice in duplicates(name for name, *_ in rows):
        raise InputError(
            "bad_annotation", f"{uri} lists {twice} twice; mend or replace it"
        )
    for name, *captions in rows:
        for caption in captions:
            yield Annotated(caption, name, name)
