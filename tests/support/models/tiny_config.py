"""A training configuration small enough for a test, and a file that holds it."""

import dataclasses
from pathlib import Path
from typing import Any

from models.backbones.bert.model import BertConfig
from models.backbones.clip.model import ClipConfig, ClipTextConfig
from models.backbones.text_decoder.model import TextDecoderConfig
from models.backbones.vit.model import ViTConfig
from models.captioning.av_gpt2.model import AvGpt2Config
from models.captioning.av_gpt2.task import AvGpt2Task
from models.data.augment import AugmentConfig
from models.retrieval.clip4clip import Clip4ClipConfig
from models.retrieval.clip4clip_task import Clip4ClipTask
from models.retrieval.dual_encoder import DualEncoderConfig
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.retrieval.mbt import AudioVisualConfig
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig
from models.training.overrides import override

_SEGMENTS: dict[str, Any] = {
    "frame_stride": 10,
    "spectrogram_stride": 5,
    "augment": AugmentConfig(flip=False, color=0.0, time_masks=0, frequency_masks=0),
}

TINY_TRAINING = TrainConfig(
    task=DualEncoderTask(
        model=DualEncoderConfig(
            clips=AudioVisualConfig(
                hidden=16,
                layers=2,
                heads=2,
                mlp=32,
                frames=2,
                frame_px=16,
                video_patch=(1, 8, 8),
                spectrogram_frames=16,
                audio_patch=(16, 16),
                bottlenecks=2,
                fusion_layer=1,
            ),
            text=BertConfig(hidden=16, layers=1, heads=2, mlp=32, vocabulary=80),
            embedding=8,
        ),
        **_SEGMENTS,
    ),
    optimizer=OptimizerConfig(kind="adam", learning_rate=3e-3, warmup=0.1),
    batch_size=2,
    epochs=1,
)

# CLIP4Clip over bytes: 256, and 256 that end a word, a start and an end.
TINY_CLIP4CLIP = dataclasses.replace(
    TINY_TRAINING,
    task=Clip4ClipTask(
        model=Clip4ClipConfig(
            clip=ClipConfig(
                vision=ViTConfig(
                    hidden=64,
                    layers=4,
                    heads=4,
                    mlp=192,
                    input_size=(64, 64),
                    patch=(16, 16),
                    activation="quick_gelu",
                    norm_epsilon=1e-5,
                    patch_bias=False,
                    embedding_norm=True,
                ),
                text=ClipTextConfig(
                    hidden=64,
                    layers=4,
                    heads=4,
                    mlp=192,
                    vocabulary=514,
                    max_tokens=32,
                    end_id=513,
                ),
                projection=32,
            ),
            frames=2,
        ),
        **_SEGMENTS,
    ),
)


TINY_CAPTIONING = dataclasses.replace(
    TINY_TRAINING,
    task=AvGpt2Task(
        model=AvGpt2Config(
            clips=TINY_TRAINING.task.model.clips,  # type: ignore[attr-defined]
            decoder=TextDecoderConfig(
                hidden=16,
                layers=2,
                heads=2,
                mlp=32,
                vocabulary=80,
                max_tokens=32,
                context="prefix",
                context_width=16,
            ),
        ),
        **_SEGMENTS,
    ),
)


def deaf(config: TrainConfig) -> TrainConfig:
    """Return the same for a model that only sees."""
    return override(config, ["task.model.clips.modalities=('video',)"])


def write_config(path: Path, expression: str = "TINY_TRAINING") -> str:
    """Write a file for `clipseed train`; `expression` may use what is here."""
    path.write_text(
        f"from tests.support.models.tiny_config import *\nconfig = {expression}\n"
    )
    return str(path)
