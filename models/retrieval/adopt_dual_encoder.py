"""What the checkpoints of its parts mean for the settings of the dual encoder."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from clipseed.errors import InputError
from models.backbones.clip.weights import VISION_TYPES, clip_vision_config
from models.backbones.vit.model import ViTConfig
from models.backbones.vit.weights import AST, MODEL_TYPES, vit_config
from models.nn.transformer import BlockConfig
from models.pretrained.adopt import adopt_value
from models.pretrained.checkpoint import read_config
from models.pretrained.preprocessing import SYMMETRIC_SCALE, read_preprocessing
from models.pretrained.spectrograms import AST_DEVIATION, check_spectrograms
from models.retrieval.dual_encoder import DualEncoderConfig
from models.retrieval.mbt import AudioVisualConfig
from models.retrieval.text_encoders import TEXT_TYPES, adopt_text

_SHARED = tuple(field.name for field in dataclasses.fields(BlockConfig))


def adopt_dual_encoder(
    given: DualEncoderConfig, checkpoints: Mapping[str, str]
) -> DualEncoderConfig:
    """Return the settings with what the checkpoints bring.

    Args:
        given: as the user set it.
        checkpoints: directories, of `vision`, `audio` and `text` or some of these.

    Raises:
        InputError: as `adopt_streams`; `bad_checkpoint` for one of another kind.
    """
    model, video, audio = given, None, None
    if directory := checkpoints.get("vision"):
        published = read_config(directory, ("vit", *VISION_TYPES))
        family = published["model_type"]
        read = vit_config if family == "vit" else clip_vision_config
        video = read(published)
        model = _adopt_pixels(model, directory, family)
    if directory := checkpoints.get("audio"):
        published = read_config(directory, MODEL_TYPES)
        audio = vit_config(published)
        if published["model_type"] == AST:
            mels, frames = model.clips.mel_bins, model.clips.spectrogram_frames
            check_spectrograms(directory, published, mels, frames)
    clips = adopt_streams(model.clips, video, audio)
    if video and audio and checkpoints["vision"] != checkpoints["audio"]:
        clips = dataclasses.replace(clips, shared_norm=False)
    model = dataclasses.replace(model, clips=clips)
    if directory := checkpoints.get("text"):
        text = adopt_text(model.text, read_config(directory, TEXT_TYPES))
        model = dataclasses.replace(model, text=text)
    return model


def adopt_mel_deviation(given: float, usual: float, directory: str) -> float:
    """Return what log-mel is divided by for the checkpoint of the audio stream.

    Args:
        given: as the user set it.
        usual: the deviation of log-mel, where nobody set anything; after the division
            by it the deviation is 1.
        directory: of an AST, which was trained on another scale, or of a ViT.

    Raises:
        InputError: as `read_config`.
    """
    if read_config(directory, MODEL_TYPES)["model_type"] != AST:
        return given
    wanted = usual / AST_DEVIATION
    return float(adopt_value("task.mel_deviation", given, wanted, usual, free=True))


def adopt_streams(
    given: AudioVisualConfig, video: ViTConfig | None, audio: ViTConfig | None
) -> AudioVisualConfig:
    """Return the encoder's settings with what the checkpoints bring.

    Args:
        given: as the user set it.
        video: of the video stream's checkpoint, over pictures; None: it has none.
        audio: of the audio stream's, over spectrograms or pictures; None: it has none.

    Raises:
        InputError: `bad_config` if a setting contradicts a checkpoint, or one
            checkpoint the other: the streams exchange tokens, so that their blocks must
            be alike.
    """
    usual = AudioVisualConfig()
    changes: dict[str, object] = {}

    def take(name: str, theirs: object, free: bool = False) -> None:
        changes[name] = adopt_value(
            f"task.model.clips.{name}",
            getattr(given, name),
            theirs,
            getattr(usual, name),
            free,
        )

    for name in _SHARED:
        values = [getattr(each, name) for each in (video, audio) if each]
        if len(set(values)) > 1:
            raise InputError(
                "bad_config",
                f"the checkpoints of vision and audio have {values[0]} and {values[1]} "
                f"as {name}: use two of one shape",
            )
        if values:
            take(name, values[0])
    if video:
        take("frame_px", video.input_size[0], free=True)
        take("video_patch", (given.video_patch[0], *video.patch))
        take("video_patch_bias", video.patch_bias)
        take("video_embedding_norm", video.embedding_norm)
    if audio:
        take("audio_patch", audio.patch)
        take("audio_stride", audio.stride)
        take("audio_extra_tokens", audio.extra_tokens)
    return dataclasses.replace(given, **changes)  # type: ignore[arg-type]


def _adopt_pixels(
    model: DualEncoderConfig, directory: str, family: str
) -> DualEncoderConfig:
    """Return the settings with the scale of pixels that a checkpoint was trained on."""
    scale = read_preprocessing(directory, family, model.clips.frame_px).scale
    changes: dict[str, Any] = {
        f"pixel_{name}": adopt_value(
            f"task.model.pixel_{name}",
            getattr(model, f"pixel_{name}"),
            getattr(scale, name),
            getattr(SYMMETRIC_SCALE, name),
        )
        for name in ("mean", "deviation")
    }
    return dataclasses.replace(model, **changes)
