"""What a speech recognizer is: sound in, timed texts out."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

SAMPLE_RATE_HZ = 16_000


class Speech(NamedTuple):
    """A stretch of speech.

    Attributes:
        start_us: from the start of the sound.
        end_us: exclusive.
        text: what is said; may be empty.
        score: the recognizer's confidence, in (0, 1].
    """

    start_us: int
    end_us: int
    text: str
    score: float


class Recognizer(Protocol):
    """What turns speech into text.

    Attributes:
        recognizer_id: changes whenever the texts would.
    """

    recognizer_id: str

    def recognize(self, sound: Iterable[np.ndarray]) -> Iterator[Speech]:
        """Yield what is said; nothing for sound without speech.

        Args:
            sound: consecutive pieces, int16 [n], mono, 16 kHz.
        """
