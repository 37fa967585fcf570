import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import captioning
from models.backbones.text_decoder.model import TextDecoder, TextDecoderConfig

TINY = TextDecoderConfig(
    hidden=16,
    layers=1,
    heads=2,
    mlp=24,
    vocabulary=11,
    max_tokens=12,
    context="cross",
    context_width=16,
)


@pytest.mark.parametrize("beams", captioning.BEAMS)
def test_without_the_cache_the_same_is_written(
    beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioning, "TOKENS", 12)
    decoder = TextDecoder(TINY, nnx.Rngs(0))
    # What is written depends on the place, so that it is not one token again and again.
    decoder.positions.embedding.set_value(decoder.positions.embedding[...] * 60)
    random = np.random.default_rng(0).normal(size=(3, 2, 16))
    context = jnp.asarray(random, jnp.float32)
    speed, texts = captioning.measure(decoder, context, beams, cached=True)
    _, wanted = captioning.measure(decoder, context, beams, cached=False)
    assert speed > 0 and texts.shape == (3, 13)
    assert len(np.unique(texts)) > 3
    np.testing.assert_array_equal(texts, wanted)
