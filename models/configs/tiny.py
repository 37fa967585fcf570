"""A dual encoder for a CPU: learns a small run in minutes.

    clipseed train tiny --data RUN --output DIR

The vocabulary is learned from the captions; Adam, because it is robust.
"""

from models.backbones.bert.model import BertConfig
from models.data.augment import AugmentConfig
from models.retrieval.dual_encoder import DualEncoderConfig
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.retrieval.mbt import AudioVisualConfig
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig

config = TrainConfig(
    task=DualEncoderTask(
        model=DualEncoderConfig(
            clips=AudioVisualConfig(
                hidden=96,
                layers=4,
                heads=4,
                mlp=192,
                frames=4,
                frame_px=48,
                video_patch=(2, 12, 12),
                spectrogram_frames=96,
                audio_patch=(16, 16),
                bottlenecks=4,
                fusion_layer=2,
            ),
            text=BertConfig(
                hidden=96, layers=2, heads=4, mlp=192, vocabulary=2000, max_tokens=32
            ),
            embedding=64,
        ),
        frame_stride=60,
        spectrogram_stride=10,
        augment=AugmentConfig(flip=False, time_frames=8, frequency_bins=8),
    ),
    optimizer=OptimizerConfig(kind="adam", learning_rate=1e-3, warmup=0.1),
    batch_size=16,
    epochs=40,
)
