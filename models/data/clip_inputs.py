"""What a model is given of clips: pictures, sound, and which of them there are.

    clips = ClipInputs(video=frames, has_video=np.array([True, False]))

A named tuple, so that JAX maps over it; a modality that the model does not take is
None.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from models.tokenizers.base import Tokens

Modality = Literal["video", "audio"]


class ClipInputs(NamedTuple):
    """Segments of b clips, on the host or on devices.

    Attributes:
        video: uint8 or float [b, frames, px, px, 3] in [0, 255]; None if the model
            takes no pictures.
        audio: float32 [b, spectrogram frames, mel bins], normalized log-mel; None if
            the model takes no sound.
        has_video: bool [b], False for a clip without pictures; None: all have some.
        has_audio: bool [b], False for a clip without sound; None: all have some.
    """

    video: Any = None
    audio: Any = None
    has_video: Any = None
    has_audio: Any = None

    def present(self) -> np.ndarray:
        """Return which clips hold anything that the model takes: bool [b]."""
        masks = [mask for mask in (self.has_video, self.has_audio) if mask is not None]
        return np.any(masks, axis=0)

    def without(self, modality: Modality) -> "ClipInputs":
        """Return the same clips with a modality masked in each."""
        if modality == "video":
            return self._replace(has_video=np.zeros_like(self.has_video))
        return self._replace(has_audio=np.zeros_like(self.has_audio))

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> "ClipInputs":
        """Return the clips with each array changed."""
        return ClipInputs(*(None if rows is None else change(rows) for rows in self))


class CaptionedClips(NamedTuple):
    """A batch to learn from: b clips and a caption of each."""

    clips: ClipInputs
    texts: Tokens
