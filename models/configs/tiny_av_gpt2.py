"""AV-GPT2 for a CPU: learns to caption a small run in minutes.

    clipseed train tiny_av_gpt2 --data RUN --output DIR

The vocabulary is learned from the captions.
"""

import dataclasses

from models.backbones.text_decoder.model import TextDecoderConfig
from models.captioning.av_gpt2.model import AvGpt2Config
from models.captioning.av_gpt2.task import AvGpt2Task
from models.configs import tiny
from models.retrieval.dual_encoder_task import DualEncoderTask

_RETRIEVAL = tiny.config.task
assert isinstance(_RETRIEVAL, DualEncoderTask)

config = dataclasses.replace(
    tiny.config,
    task=AvGpt2Task(
        model=AvGpt2Config(
            clips=_RETRIEVAL.model.clips,
            decoder=TextDecoderConfig(
                hidden=96,
                layers=2,
                heads=4,
                mlp=192,
                vocabulary=2000,
                max_tokens=32,
                context="prefix",
                context_width=96,
            ),
        ),
        frame_stride=_RETRIEVAL.frame_stride,
        spectrogram_stride=_RETRIEVAL.spectrogram_stride,
        augment=_RETRIEVAL.augment,
    ),
)
