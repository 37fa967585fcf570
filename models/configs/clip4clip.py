"""CLIP4Clip with mean pooling (Luo et al.), fine-tuned as published.

    clipseed train clip4clip --data RUN --output DIR --set clip=clip-vit-base-patch32

ViT-B/32, 12 frames at 1 fps (of clips of 25 fps), 32 words; batch 128, 5 epochs, Adam
with a rate of 1e-4, and 1e-7 for what CLIP brought along, which is all of it. `clip` is
a checkpoint as `transformers` saves it, with its `merges.txt`. With `--set epochs=0`
CLIP is kept as it comes: so the paper has R@1 30.6 on MSR-VTT 1k-A (table 3), and 33.7
after training on VideoCC (not reproduced here: no such data at hand).
"""

from models.data.augment import AugmentConfig
from models.retrieval.clip4clip import Clip4ClipConfig
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig

config = TrainConfig(
    model=Clip4ClipConfig(),
    frame_stride=25,
    augment=AugmentConfig(least_side=1.0, flip=False, color=0.0),
    optimizer=OptimizerConfig(
        kind="adam",
        learning_rate=1e-4,
        second_moment=0.98,
        weight_decay=0.2,
        warmup=0.1,
        pretrained_rate=1e-3,
    ),
    batch_size=128,
    epochs=5,
    dtype="bfloat16",
)
