"""Captioners by the names that `--captioner` takes.

    captioner = load_captioner("hf:Salesforce/blip-image-captioning-base")

To add a kind: write a file with a class that fulfills `Captioner`, and choose it in
`load_captioner`. Nothing is imported before a captioner is loaded.
"""

import functools

from models.captioning.base import Captioner


@functools.lru_cache(maxsize=1)
def load_captioner(name: str) -> Captioner:
    """Load the captioner that `--captioner` names, once per process.

    Args:
        name: `hf:ID[@REVISION]` or the directory of a checkpoint.

    Raises:
        ValueError: a model that cannot be loaded or does not write captions; the
            message says what to do.
    """
    from models.captioning.published.captioner import PublishedCaptioner

    return PublishedCaptioner(name)


def pin_captioner(name: str) -> str:
    """Return the name with the revision that it has now, so that all workers agree.

    Raises:
        InputError: as `models.pretrained.source.pin`.
    """
    from models.pretrained.source import pin

    return pin(name)
