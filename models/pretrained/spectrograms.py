"""What a published AST takes for a spectrogram, by its `preprocessor_config.json`.

    check_spectrograms("checkpoints/ast", published, mel_bins=128)
    deviation_of_input = AST_DEVIATION

An AST was trained on Kaldi's filter banks, brought to mean 0 and deviation 0.5 by the
statistics of its data (Gong et al., "AST", section 3.1): the file's `mean` and `std`.
Clips hold a log-mel of other statistics. It is brought to the same mean and deviation
by its own, so that the model sees numbers of the size that it was trained on.
"""

import functools
import logging
from collections.abc import Mapping
from typing import Any

from clipseed.errors import InputError
from models.pretrained.checkpoint import published_value, read_json
from models.pretrained.preprocessing import PREPROCESSOR_FILE

# The standard deviation of what every published AST was trained on.
AST_DEVIATION = 0.5
_RATE_HZ = 16_000
_DEFAULTS: dict[str, Any] = {
    "feature_extractor_type": "ASTFeatureExtractor",
    "do_normalize": True,
    "sampling_rate": _RATE_HZ,
    "mean": -4.2677393,
    "std": 4.5689974,
}


def check_spectrograms(
    directory: str, published: Mapping[str, Any], mel_bins: int, frames: int
) -> None:
    """Check that an AST can take the spectrograms of clips, and say what differs.

    Args:
        directory: of the checkpoint.
        published: its `config.json`.
        mel_bins: of the spectrograms.
        frames: of a segment's spectrogram; it may differ from the checkpoint's.

    Raises:
        InputError: `bad_checkpoint`, naming the field that cannot be honored.
    """
    fields = _read(directory)
    bins = published_value(published, "num_mel_bins", 128)
    longest = published_value(published, "max_length", 1024)
    for found in (bins, fields.get("num_mel_bins", bins)):
        if found != mel_bins:
            raise _refused(directory, "num_mel_bins", found, f"clips have {mel_bins}")
    if not fields["do_normalize"]:
        raise _refused(directory, "do_normalize", False, "features must be normalized")
    if fields["sampling_rate"] != _RATE_HZ:
        rate = fields["sampling_rate"]
        raise _refused(directory, "sampling_rate", rate, f"clips have {_RATE_HZ} Hz")
    if fields["feature_extractor_type"] != _DEFAULTS["feature_extractor_type"]:
        kind = fields["feature_extractor_type"]
        raise _refused(directory, "feature_extractor_type", kind, "AST's is supported")
    if not fields["std"] > 0:
        raise _refused(directory, "std", fields["std"], "it must be above 0")
    _say(directory, fields["mean"], fields["std"], longest, frames)


def _read(directory: str) -> dict[str, Any]:
    try:
        found = read_json(directory, PREPROCESSOR_FILE)
    except InputError as error:
        if error.reason != "not_found":
            raise
        found = {}
    checked = {
        name: published_value(found, name, default)
        for name, default in _DEFAULTS.items()
    }
    return found | checked


def _refused(directory: str, field: str, value: Any, why: str) -> InputError:
    return InputError(
        "bad_checkpoint",
        f"the AST {directory} has {field} = {value!r}, but {why}: use another",
    )


@functools.cache  # Once per process is enough.
def _say(directory: str, mean: float, std: float, longest: int, frames: int) -> None:
    logging.info(
        "task.audio: %s was trained on filter banks of mean %g and deviation %g; the "
        "clips' log-mel is brought to the scale that these were brought to",
        directory,
        mean,
        std,
    )
    if longest != frames:
        logging.info(
            "task.model.clips.spectrogram_frames: %d; the checkpoint has max_length = "
            "%d, fitted",
            frames,
            longest,
        )
