"""What the checkpoints of its two streams mean for the audio-visual encoder."""

import dataclasses

from clipseed.errors import InputError
from models.backbones.vit.model import ViTConfig
from models.nn.transformer import BlockConfig
from models.pretrained.adopt import adopt_value
from models.retrieval.mbt import AudioVisualConfig

_SHARED = tuple(field.name for field in dataclasses.fields(BlockConfig))


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
    if audio:
        take("audio_patch", audio.patch)
        take("audio_stride", audio.stride)
        take("audio_extra_tokens", audio.extra_tokens)
    return dataclasses.replace(given, **changes)  # type: ignore[arg-type]
