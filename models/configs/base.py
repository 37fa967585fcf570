"""The audio-visual dual encoder of the paper (sections 4.1 and 5.2).

    clipseed train base --data RUN --output DIR \
        --set task.vision=hf:google/vit-base-patch16-224-in21k \
        --set task.audio=hf:google/vit-base-patch16-224-in21k \
        --set task.text=hf:google-bert/bert-base-uncased

A ViT-Base per modality, BERT-Base, 4 bottleneck tokens from layer 8, 32 frames at
stride 14, spectrograms of 800 x 128; batch 256, 4 epochs. The paper used TPUs; on one
GPU add `--set micro_batch=32 --set remat=True`. Expected with VideoCC3M, zero-shot on
MSR-VTT 1k-A: R@1 20.4, R@10 50.3 (not reproduced here, for lack of the data).
"""

from models.retrieval.dual_encoder_task import DualEncoderTask
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig

config = TrainConfig(
    task=DualEncoderTask(),
    dtype="bfloat16",
    optimizer=OptimizerConfig(learning_rate=0.1, warmup=1.5 / 4),
)
