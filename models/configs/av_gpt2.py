"""AV-GPT2, the captioner of the paper (sections 4.2 and 5.4).

    clipseed train av_gpt2 --data RUN --output DIR \
        --set task.gpt2=hf:openai-community/gpt2 --set task.encoder=RETRIEVAL_RUN

The encoder of `base`, GPT-2 with 117M parameters; Adam at 1e-4, weight decay 0.01,
batch 512, here accumulated over parts of 8: attention among the 3,538 tokens of a
context takes some 2 GB per clip (an estimate; no GPU was available). The paper trains
120,000 iterations on TPUs, and fine-tunes 1,000: set `epochs` to iterations * 512 /
clips. Warm-up and cosine are ours, as the paper names no schedule. Expected with
VideoCC3M, on MSR-VTT: BLEU-4 13.23, CIDEr 8.24, METEOR 11.34 zero-shot; 45.47, 55,
36.96 fine-tuned (not reproduced here, for lack of the data).
"""

from models.captioning.av_gpt2.task import AvGpt2Task
from models.training.config import TrainConfig
from models.training.optimizers import OptimizerConfig

config = TrainConfig(
    task=AvGpt2Task(),
    dtype="bfloat16",
    remat=True,
    optimizer=OptimizerConfig(
        kind="adam", learning_rate=1e-4, weight_decay=0.01, warmup=0.01
    ),
    batch_size=512,
    micro_batch=8,
)
