"""CLIP4Clip with mean pooling (Luo et al.), fine-tuned as published.

    clipseed train clip4clip --data RUN --output DIR \
        --set task.clip=clip-vit-base-patch32

ViT-B/32, 12 frames at 1 fps (of clips of 25 fps), 32 words; batch 128, 5 epochs, Adam
at a rate of 1e-4, and of 1e-7 for the parameters of CLIP, which are all. `task.clip` is
a checkpoint as `transformers` saves it, with its `merges.txt`. With `--set epochs=0`
CLIP is evaluated as it is, for which the paper reports R@1 30.6 on MSR-VTT 1k-A (table
3); after training on VideoCC 33.7 (not reproduced here, for lack of the data).
"""

from models.data.augment import AugmentConfig
from models.retrieval.clip4clip_task import Clip4ClipTask
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig

config = TrainConfig(
    task=Clip4ClipTask(
        frame_stride=25,
        augment=AugmentConfig(least_side=1.0, flip=False, color=0.0),
    ),
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
