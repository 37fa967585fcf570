"""The benchmark of training shows what a small model's steps cost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.training.made_clips import write_made_run
from benchmarks.training.speed import measure, step_flops
from models.data.clip_inputs import CaptionedClips, ClipInputs
from models.data.loader import Source
from models.tokenizers.base import Tokens
from tests.support.models.tiny_config import TINY_TRAINING


def inputs(clips: int) -> CaptionedClips:
    video = np.zeros((clips, 2, 16, 16, 3), np.uint8)
    audio = np.zeros((clips, 16, 128), np.float32)
    texts = Tokens(np.zeros((clips, 32), np.int32), np.ones((clips, 32), bool))
    return CaptionedClips(ClipInputs(video, audio), texts)


def test_flops_are_those_of_the_matrices() -> None:
    """Forward and backward pass: three times the forward one's matrix products."""
    hidden, mlp, embedding = 16, 32, 8
    # A token through a layer: four projections and the MLP.
    weights = 4 * hidden**2 + 2 * hidden * mlp
    video, audio, text = 1 + 8, 1 + 8, 32
    bottlenecks = 2 * 2  # In the second layer, a copy a modality.
    through = weights * (2 * (video + audio) + bottlenecks + text)
    patches = hidden * (8 * 8 * 8 * 3 + 8 * 16 * 16)
    attention = 2 * hidden * (video**2 + audio**2 + 2 * 11**2 + text**2)
    forward = 2 * (through + patches + attention + 2 * hidden * embedding)
    counted = step_flops(TINY_TRAINING, inputs(8)) / 8
    assert counted == pytest.approx(3 * forward, rel=0.25)


@pytest.mark.ci_only
@pytest.mark.measures
def test_a_steps_time_is_accounted_for(tmp_path: Path) -> None:
    write_made_run(tmp_path / "run", clips=4)
    config = replace(TINY_TRAINING, data=(Source(str(tmp_path / "run")),))
    found = measure(config, steps=3, peak_tflops=1e-3)
    step_s = sum(found["step_ms"].values()) / 1000
    assert found["clips_per_s"] == pytest.approx(config.batch_size / step_s)
    assert found["tflop_per_s"] == pytest.approx(found["tflop_per_step"] / step_s)
    assert found["utilization"] == pytest.approx(found["tflop_per_s"] / 1e-3)
    assert found["peak_memory_mb"]["host"] > 100
