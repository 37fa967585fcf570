"""Which modalities of a clip a trained model is evaluated with."""

from collections.abc import Mapping

from clipseed.errors import InputError
from models.data.clip_inputs import Modality
from models.data.segments import SegmentConfig

_MODALITIES: Mapping[str, Modality] = {"V": "video", "A": "audio"}


def chosen_modality(
    wanted: str | None, segment: SegmentConfig
) -> tuple[str, Modality | None]:
    """Return the paper's name of what is measured, and what is masked for it."""
    taken = {"A": segment.spectrogram_frames > 0, "V": segment.frames > 0}
    have = [name for name, is_taken in taken.items() if is_taken]
    names = wanted.split("+") if wanted else have
    if not set(names) <= set(have):
        raise InputError(
            "no_modality",
            f"the model takes {'+'.join(have)}, not {wanted}; choose another "
            "--modality",
        )
    masked = [_MODALITIES[name] for name in have if name not in names]
    return "+".join(names), masked[0] if masked else None
