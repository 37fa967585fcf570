"""A dual encoder small enough for a test, and batches for it."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from models.backbones.bert.model import BertConfig
from models.data.clip_inputs import CaptionedClips, ClipInputs
from models.retrieval.dual_encoder import DualEncoder, DualEncoderConfig
from models.retrieval.dual_encoder_task import DualEncoderTask
from models.retrieval.mbt import AudioVisualConfig
from models.tokenizers.base import Tokens

TINY = DualEncoderConfig(
    clips=AudioVisualConfig(
        hidden=16,
        layers=2,
        heads=2,
        mlp=32,
        frames=2,
        frame_px=16,
        video_patch=(1, 8, 8),
        spectrogram_frames=16,
        mel_bins=16,
        audio_patch=(8, 8),
        bottlenecks=2,
        fusion_layer=1,
    ),
    text=BertConfig(hidden=16, layers=1, heads=2, mlp=32, vocabulary=40, max_tokens=8),
    embedding=8,
)


TASK = DualEncoderTask(model=TINY)


def tiny_model(seed: int = 0) -> DualEncoder:
    return DualEncoder(TINY, nnx.Rngs(seed))


def tiny_batch(size: int = 16, seed: int = 0) -> CaptionedClips:
    """`size` clips, every third without sound, and their captions."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 40, (size, 8), dtype=np.int32)
    clips = ClipInputs(
        video=rng.integers(0, 256, (size, 2, 16, 16, 3), dtype=np.uint8),
        audio=rng.standard_normal((size, 16, 16), dtype=np.float32),
        has_video=np.ones(size, bool),
        has_audio=np.arange(size) % 3 != 0,
    )
    mask = np.arange(8) < rng.integers(2, 9, (size, 1))
    return CaptionedClips(clips, Tokens(ids, mask))


def largest_difference(left: Any, right: Any) -> float:
    """Return two trees' largest difference, relative to an array's maximum above 1."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        one, other = np.asarray(a), np.asarray(b)
        size = max(1.0, float(np.abs(one).max()))
        worst = max(worst, float(np.abs(one - other).max()) / size)
    return worst
