"""CMU PocketSphinx, with the English model that its package brings along."""

import math
from collections.abc import Iterable, Iterator
from importlib import metadata

import numpy as np

from models.speech.base import SAMPLE_RATE_HZ, Speech

try:
    import pocketsphinx
except ImportError as error:
    raise ValueError(
        "the recognizer pocketsphinx is not installed: pip install clipseed[asr]"
    ) from error


class PocketSphinx:
    """A recognizer that needs no download.

    Attributes:
        recognizer_id: with the version of the package.
    """

    def __init__(self) -> None:
        self.recognizer_id = f"pocketsphinx-{metadata.version('pocketsphinx')}"

    def recognize(self, sound: Iterable[np.ndarray]) -> Iterator[Speech]:
        """Yield what is said, a stretch between two silences each.

        Its score is the geometric mean of the words' posterior probabilities.
        """
        # New ones for each sound: both adapt to what they hear.
        decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE_HZ, loglevel="FATAL")
        endpointer = pocketsphinx.Endpointer(sample_rate=SAMPLE_RATE_HZ)
        spoken = bytearray()
        for frame, is_last in _frames(sound, endpointer.frame_bytes):
            was_speaking = endpointer.in_speech
            heard = (
                endpointer.end_stream(frame) if is_last else endpointer.process(frame)
            )
            spoken += heard or b""
            if was_speaking and (is_last or not endpointer.in_speech) and spoken:
                yield _decode(decoder, bytes(spoken), endpointer)
                spoken.clear()


def _decode(
    decoder: "pocketsphinx.Decoder",
    spoken: bytes,
    endpointer: "pocketsphinx.Endpointer",
) -> Speech:
    decoder.start_utt()
    decoder.process_raw(spoken, full_utt=True)
    decoder.end_utt()
    words = [w for w in decoder.seg() or () if w.word[0] not in "<["]
    logs = [math.log(min(1.0, max(word.prob, 1e-9))) for word in words]
    return Speech(
        round(endpointer.speech_start * 1_000_000),
        round(endpointer.speech_end * 1_000_000),
        " ".join(word.word.partition("(")[0] for word in words),
        math.exp(sum(logs) / max(1, len(logs))),
    )


def _frames(
    sound: Iterable[np.ndarray], frame_bytes: int
) -> Iterator[tuple[bytes, bool]]:
    """Yield frames of a fixed size, and at the end what is left, marked as the last."""
    waiting = bytearray()
    for piece in sound:
        waiting += piece.tobytes()
        while len(waiting) > frame_bytes:
            yield bytes(waiting[:frame_bytes]), False
            del waiting[:frame_bytes]
    yield bytes(waiting) or b"\0\0", True  # The endpointer takes no empty frame.
