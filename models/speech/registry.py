"""Speech recognizers by the names that `--recognizer` takes.

To add one: write a file with a class of the form of `Recognizer`, and give it a line in
`_KINDS`.
"""

import functools
import importlib

from models.speech.base import Recognizer

# By prefix: the module, which is imported when one is loaded, and its class.
_KINDS = {
    "pocketsphinx": ("models.speech.pocketsphinx", "PocketSphinx"),
    "faster-whisper": ("models.speech.faster_whisper", "FasterWhisper"),
}


@functools.lru_cache(maxsize=1)
def load_recognizer(name: str) -> Recognizer:
    """Load a recognizer, once per process.

    Args:
        name: `pocketsphinx`, or `faster-whisper:DIRECTORY`.

    Raises:
        ValueError: it is unknown, not installed, or its weights cannot be loaded.
    """
    kind, _, directory = name.partition(":")
    if kind not in _KINDS or (kind == "faster-whisper") != bool(directory):
        raise ValueError(
            f"unknown recognizer {name!r}: use pocketsphinx or faster-whisper:DIRECTORY"
        )
    module, of = _KINDS[kind]
    load = getattr(importlib.import_module(module), of)
    return load(directory) if directory else load()
