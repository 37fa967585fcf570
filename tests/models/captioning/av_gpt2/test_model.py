"""AV-GPT2's loss: masks, micro-batches, devices."""

import dataclasses
import os
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from models.backbones.text_decoder.model import TextDecoderConfig
from models.captioning.av_gpt2.model import AvGpt2, AvGpt2Config
from models.captioning.av_gpt2.task import AvGpt2Task
from models.training import step
from tests.support.models.tiny_model import TINY, largest_difference, tiny_batch
from tests.support.paths import ROOT
from tests.support.quick_compiler import QUICK_COMPILER

DECODER = TextDecoderConfig(
    hidden=24,
    layers=1,
    heads=2,
    mlp=32,
    vocabulary=40,
    max_tokens=32,
    context="prefix",
    context_width=24,
)
CLIPS = dataclasses.replace(TINY.clips, layers=1, fusion_layer=0)
TASK = AvGpt2Task(model=AvGpt2Config(clips=CLIPS, decoder=DECODER))


def divided() -> tuple[Any, Any, Any]:
    return step.divide(TASK, AvGpt2(TASK.model, nnx.Rngs(0)))


compiled = jax.jit(step.loss_and_gradients, static_argnums=(0, 1, 5))


def test_what_a_clip_lacks_changes_nothing_and_parts_make_the_whole() -> None:
    split, batch = divided(), tiny_batch(6)
    whole = compiled(TASK, *split, batch, 0)
    (loss, named), gradients = whole
    assert 2 < float(loss) < 6 and 0 <= float(named["accuracy"]) < 0.5
    for part in ("clips", "bridge", "decoder"):
        assert max(np.abs(g).max() for g in jax.tree.leaves(gradients[part])) > 1e-4

    # Every third clip has no sound: what is in its place is not heard.
    audio = batch.clips.audio.copy()
    audio[::3] = 7.0
    unheard = batch._replace(clips=batch.clips._replace(audio=audio))
    assert largest_difference(whole, compiled(TASK, *split, unheard, 0)) == 0
    audio[1] = 7.0
    heard = batch._replace(clips=batch.clips._replace(audio=audio))
    assert largest_difference(whole[0], compiled(TASK, *split, heard, 0)[0]) > 1e-4

    parts = compiled(TASK, *split, batch, 2)  # Their captions differ in length.
    assert largest_difference(whole, parts) < 1e-5


ON_EIGHT = """
import jax
from models.training import sharding
from tests.models.captioning.av_gpt2.test_model import *
split, batch = divided(), tiny_batch(16)
alone = compiled(TASK, *split, batch, 0)
assert jax.device_count() == 8
mesh = sharding.data_mesh()
spread = sharding.to_devices(batch, mesh)
for micro in (0, 8):
    params = sharding.place(split[1], mesh, 0)
    together = compiled(TASK, split[0], params, split[2], spread, micro)
    worst = largest_difference(alone, together)
    assert worst < 1e-5, worst
print("equal")
"""


@pytest.mark.ci_only
def test_eight_devices_give_what_one_gives() -> None:
    flags = f"{QUICK_COMPILER} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "equal", done.stderr
