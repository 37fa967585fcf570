"""`tiny`, for the made world: frames close enough together to tell directions."""

from models.configs.tiny import config as tiny
from models.training.overrides import override

config = override(
    tiny,
    [
        "task.model.clips.audio_patch=(32, 16)",
        "task.frame_stride=7",
        "task.spectrogram_stride=6",
        "task.augment.color=0.0",
        "optimizer.warmup=0.05",
        "batch_size=64",
        "epochs=24",
    ],
)
