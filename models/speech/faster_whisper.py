"""Whisper by faster-whisper, from a directory of weights in CTranslate2's format."""

import math
import os
from collections.abc import Iterable, Iterator
from importlib import metadata

import numpy as np

from clipseed.hashing import checksum
from models.speech.base import Speech

try:
    from faster_whisper import WhisperModel
except ImportError as error:
    raise ValueError(
        "faster-whisper is not installed: pip install faster-whisper"
    ) from error


class FasterWhisper:
    """A recognizer from weights on disk; nothing is downloaded.

    Attributes:
        recognizer_id: with the version of the package and the weights' checksum.
    """

    def __init__(self, directory: str) -> None:
        weights = os.path.join(directory, "model.bin")
        if not os.path.isfile(weights):
            raise ValueError(
                f"{directory} holds no model.bin: convert the weights by "
                "ct2-transformers-converter, or name another directory"
            )
        self._model = WhisperModel(directory, local_files_only=True)
        version = metadata.version("faster-whisper")
        self.recognizer_id = f"faster-whisper-{version}:{checksum(weights)[:16]}"

    def recognize(self, sound: Iterable[np.ndarray]) -> Iterator[Speech]:
        """Yield Whisper's segments; their score is the mean probability of a token.

        Sound is held whole (4 bytes a sample): Whisper looks back at what it wrote.
        """
        pieces = [piece.astype(np.float32) / 32768 for piece in sound]
        if not pieces:
            return
        found, _ = self._model.transcribe(
            np.concatenate(pieces), beam_size=5, temperature=0.0, vad_filter=True
        )
        for segment in found:
            yield Speech(
                round(segment.start * 1_000_000),
                round(segment.end * 1_000_000),
                segment.text,
                min(1.0, math.exp(segment.avg_logprob)),
            )
