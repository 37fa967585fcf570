"""CLIP4Clip is CLIP's towers, averaged over frames."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from models.backbones.clip.model import unit
from models.backbones.clip.weights import load_clip
from models.data.clip_inputs import CaptionedClips, ClipInputs
from models.pretrained.preprocessing import CLIP_SCALE, normalize
from models.retrieval.clip4clip import Clip4Clip
from models.retrieval.clip4clip_task import Clip4ClipTask
from models.tokenizers.base import Tokens
from models.training.step import TrainState, divide, make_step
from tests.support.paths import DATA

CHECKPOINT = DATA / "parity/clip"
pytestmark = pytest.mark.skipif(
    not CHECKPOINT.is_dir(), reason="../shared/data is not here"
)


@pytest.fixture(scope="module")
def model() -> Clip4Clip:
    return Clip4Clip(load_clip(str(CHECKPOINT)))


def video(model: Clip4Clip, clips: int = 3, frames: int = 4) -> np.ndarray:
    px = model.clip.config.vision.input_size[0]
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (clips, frames, px, px, 3), dtype=np.uint8)


def test_a_clip_is_the_mean_of_its_frames(model: Clip4Clip) -> None:
    pictures = video(model)
    got = model.encode_clips(ClipInputs(jnp.asarray(pictures)))
    for row, frames in enumerate(pictures):
        alone = [
            np.asarray(unit(model.clip.image(normalize(frame[None], CLIP_SCALE))))[0]
            for frame in frames
        ]
        mean = np.mean(alone, axis=0)
        np.testing.assert_allclose(got[row], mean / np.linalg.norm(mean), atol=1e-5)


def test_it_is_fine_tuned_like_the_other(model: Clip4Clip) -> None:
    config = model.clip.config.text
    rng = np.random.default_rng(1)
    ids = rng.integers(1, config.end_id, (3, config.max_tokens), dtype=np.int32)
    ids[:, -1] = config.end_id
    batch = CaptionedClips(ClipInputs(video(model)), Tokens(ids, ids > 0))
    task = Clip4ClipTask(clip=str(CHECKPOINT))
    graph, params, rest = divide(task, Clip4Clip(load_clip(str(CHECKPOINT))))
    optimizer = optax.adam(1e-3)
    state = TrainState(jnp.int32(0), params, optimizer.init(params), rest)
    step = make_step(task, graph, optimizer)
    losses = []
    for _ in range(8):
        state, metrics = step(state, batch)
        losses.append(float(metrics.loss))
    assert losses[-1] < 0.5 * losses[0] and metrics.finite == 1
    moved = nnx.merge(graph, state.params, state.rest).clip.logit_scale[...]
    assert float(moved) != float(model.clip.logit_scale[...])
