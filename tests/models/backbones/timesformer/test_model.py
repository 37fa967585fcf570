import numpy as np
import pytest

from clipseed.errors import InputError
from models.backbones.timesformer.model import load_timesformer, timesformer_config
from tests.support.reference import PARITY, jitted, needs_references


@needs_references
def test_reproduces_the_reference() -> None:
    directory = PARITY / "timesformer"
    io = np.load(directory / "io.npz")
    timesformer = load_timesformer(str(directory))
    videos = np.moveaxis(io["in.pixel_values"], 2, -1)
    got = np.array(jitted(timesformer, lambda model, x: model(x))(videos))
    wanted = io["out.last_hidden_state"]
    np.testing.assert_allclose(got[:, 0], wanted[:, 0], atol=1e-4)
    # The reference keeps the frames of a patch together, not the patches of a frame.
    b, _, hidden = wanted.shape
    by_frame = wanted[:, 1:].reshape(b, 16, 4, hidden).swapaxes(1, 2)
    np.testing.assert_allclose(got[:, 1:], by_frame.reshape(b, 64, hidden), atol=1e-4)


@pytest.mark.parametrize(
    "published", [{"attention_type": "space_only"}, {"qkv_bias": False}]
)
def test_refuses_other_attention(published: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        timesformer_config(published)
    assert caught.value.reason == "bad_checkpoint"
