"""MSR-VTT 1k-A: 1,000 test videos with one caption each, 9,000 with 20 for training.

Read as CLIP4Clip has it (`MSRVTT_JSFUSION_test.csv`; `MSRVTT_train.9k.csv` with
`MSRVTT_data.json`) or as frozen-in-time has it (`annotation/MSR_VTT.json` with lists
and the test captions' numbers in `high-quality/structured-symlinks`).
"""

import io
import pickle
from collections.abc import Iterator
from typing import Any

from clipseed.errors import InputError
from clipseed.io import storage
from transforms.benchmarks.annotations import (
    MAX_BYTES,
    Annotated,
    bad_row,
    csv_rows,
    duplicates,
    find,
    json_rows,
    text_of,
)

_TEST, _TRAIN = "MSRVTT_JSFUSION_test.csv", "MSRVTT_train.9k.csv"
_TRAIN_CAPTIONS = "MSRVTT_data.json"
_FROZEN = "annotation/MSR_VTT.json"
_LISTS = "high-quality/structured-symlinks"
_FROZEN_LISTS = {"train": "train_list_jsfusion.txt", "test": "val_list_jsfusion.txt"}
_CHOSEN = "jsfusion_val_caption_idx.pkl"


def read(directory: str, split: str) -> Iterator[Annotated]:
    """Read the captions of a split, `train` or `test`.

    Args:
        directory: of either layout, local or `gs://`.
        split: the published 1k-A has no third one.

    Raises:
        InputError: `no_annotations`, `bad_annotation`.
    """
    if split not in _FROZEN_LISTS:
        raise InputError(
            "no_annotations", f"MSR-VTT 1k-A has no split {split!r}: say train or test"
        )
    own = _TEST if split == "test" else _TRAIN
    if find(directory, [own, _FROZEN]).endswith(_FROZEN):
        return _read_frozen(directory, split)
    reader = _read_test if split == "test" else _read_train
    return reader(directory)


def _read_test(directory: str) -> Iterator[Annotated]:
    uri = storage.join(directory, _TEST)
    rows = [cells for _, cells in csv_rows(uri, ("video_id", "sentence"))]
    check_once(uri, [video for video, _ in rows])
    for video, caption in rows:
        yield Annotated(caption, video, video)


def _read_train(directory: str) -> Iterator[Annotated]:
    uri = storage.join(directory, _TRAIN)
    videos = [cells[0] for _, cells in csv_rows(uri, ("video_id",))]
    check_once(uri, videos)
    captions = captions_of(
        find(directory, [_TRAIN_CAPTIONS]), "sentences", "video_id", uri, videos
    )
    for video in videos:
        for caption in captions[video]:
            yield Annotated(caption, video, video)


def _read_frozen(directory: str, split: str) -> Iterator[Annotated]:
    uri = find(directory, [f"{_LISTS}/{_FROZEN_LISTS[split]}"])
    videos = text_of(uri).split()
    check_once(uri, videos)
    captions = captions_of(
        storage.join(directory, _FROZEN), "annotations", "image_id", uri, videos
    )
    if split == "test":
        chosen = find(directory, [f"{_LISTS}/{_CHOSEN}"])
        numbers = _read_numbers(chosen)
        for row, video in enumerate(videos, start=1):
            number = numbers.get(video)
            if number is None or not 0 <= number < len(captions[video]):
                what = f"{video} has {len(captions[video])} captions, not one {number}"
                raise bad_row(chosen, row, what)
            captions[video] = [captions[video][number]]
    for video in videos:
        for caption in captions[video]:
            yield Annotated(caption, video, video)


def captions_of(
    uri: str, table: str, key: str, listed_in: str, videos: list[str]
) -> dict[str, list[str]]:
    """Return the captions of each listed video, in the file's order.

    Args:
        uri: JSON file with the captions.
        table: name of their list there.
        key: name of a caption's video.
        listed_in: file that lists the videos.
        videos: those wanted, in the order of that file.

    Raises:
        InputError: `bad_annotation`, also for a video without a caption.
    """
    captions: dict[str, list[str]] = {video: [] for video in videos}
    for _, (video, caption) in json_rows(uri, table, (key, "caption")):
        if video in captions:
            captions[video].append(caption)
    for row, video in enumerate(videos, start=1):
        if not captions[video]:
            raise bad_row(listed_in, row, f"{video} has no caption in {uri}")
    return captions


def check_once(uri: str, videos: list[str]) -> None:
    """Check that a file lists no video twice.

    Raises:
        InputError: `bad_annotation`.
    """
    for twice in duplicates(videos):
        raise InputError(
            "bad_annotation", f"{uri} lists {twice} twice; mend or replace it"
        )


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, texts and containers; runs no code that a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _read_numbers(uri: str) -> dict[str, int]:
    """Return which caption of each test video is the query."""
    data = storage.read_bytes(uri, MAX_BYTES)
    try:
        numbers = _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # Garbage makes pickle raise almost anything.
        raise bad_row(uri, 0, f"it is not a plain pickle ({error})") from error
    plain = isinstance(numbers, dict) and all(
        isinstance(k, str) and type(v) is int for k, v in numbers.items()
    )
    if not plain:
        raise bad_row(uri, 0, "it is not a pickle of numbers by video")
    return numbers
