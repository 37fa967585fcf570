"""MSR-VTT for captioning: 6,513 videos to train, 497 to validate, 2,990 to test.

Each has 20 captions. Read from the table that CLIP4Clip distributes
(`MSRVTT_data.json`), or from those of the challenge (`train_val_videodatainfo.json` and
`test_videodatainfo.json`): all name each video's split.
"""

from collections.abc import Iterator

from clipseed.errors import InputError
from transforms.benchmarks.annotations import Annotated, find, json_rows
from transforms.benchmarks.msr_vtt import captions_of, check_once

_ALL = "MSRVTT_data.json"
_LEARNED, _TESTED = "train_val_videodatainfo.json", "test_videodatainfo.json"
_SPLITS = {"train": "train", "val": "validate", "test": "test"}


def read(directory: str, split: str) -> Iterator[Annotated]:
    """Read the captions of a split: `train`, `val` or `test`.

    Args:
        directory: of either layout, local or `gs://`.
        split: as said.

    Raises:
        InputError: `no_annotations`, `bad_annotation`.
    """
    if split not in _SPLITS:
        raise InputError("no_annotations", f"MSR-VTT has no split {split!r}")
    uri = find(directory, [_ALL, _TESTED if split == "test" else _LEARNED])
    rows = json_rows(uri, "videos", ("video_id", "split"))
    videos = [video for _, (video, of) in rows if of == _SPLITS[split]]
    check_once(uri, videos)
    captions = captions_of(uri, "sentences", "video_id", uri, videos)
    for video in videos:
        for caption in captions[video]:
            yield Annotated(caption, video, video)
