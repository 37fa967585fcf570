"""Bottleneck fusion against NumPy written by hand, and what is masked."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from clipseed.errors import InputError
from models.data.clip_inputs import ClipInputs
from models.nn.transformer import Block
from models.retrieval.mbt import AudioVisualConfig, AudioVisualEncoder, fuse

TINY = AudioVisualConfig(
    hidden=16,
    layers=3,
    heads=2,
    mlp=32,
    frames=4,
    frame_px=16,
    video_patch=(2, 8, 8),
    spectrogram_frames=32,
    mel_bins=16,
    audio_patch=(8, 8),
    bottlenecks=2,
    fusion_layer=1,
)
ERF = np.vectorize(math.erf)


@pytest.fixture(scope="module")
def encoder() -> AudioVisualEncoder:
    made = AudioVisualEncoder(TINY, nnx.Rngs(0))
    # Nothing at its initial zero or one, where a forgotten term would not show.
    state = nnx.state(made, nnx.Param)
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda x: jnp.asarray(x + 0.1 * rng.standard_normal(x.shape), x.dtype), state
    )
    nnx.update(made, moved)
    return made


def inputs(batch: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    video = rng.uniform(-1, 1, (batch, 4, 16, 16, 3)).astype(np.float32)
    return video, rng.standard_normal((batch, 32, 16)).astype(np.float32)


def norm(x: np.ndarray, layer: nnx.LayerNorm) -> np.ndarray:
    centerd = x - x.mean(-1, keepdims=True)
    scaled = centerd / np.sqrt((centerd**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])


def linear(x: np.ndarray, layer: nnx.Linear) -> np.ndarray:
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def by_hand(block: Block, x: np.ndarray) -> np.ndarray:
    """Apply a pre-norm transformer block on tokens [n, hidden], head by head."""
    seen, attention = norm(x, block.attention_norm), block.attention
    query, key, value = (
        linear(seen, layer)
        for layer in (attention.query, attention.key, attention.value)
    )
    size = x.shape[1] // attention.heads
    mixed = []
    for head in range(attention.heads):
        part = slice(head * size, (head + 1) * size)
        scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
        mixed.append(scores / scores.sum(1, keepdims=True) @ value[:, part])
    x = x + linear(np.concatenate(mixed, axis=1), attention.output)
    inner = linear(norm(x, block.mlp_norm), block.mlp.expand)
    return x + linear(inner * (1 + ERF(inner / math.sqrt(2))) / 2, block.mlp.contract)


def test_a_fused_layer_is_what_numpy_says(encoder: AudioVisualEncoder) -> None:
    rng = np.random.default_rng(2)
    video, audio, shared = (
        rng.standard_normal((1, n, 16)).astype(np.float32) for n in (5, 7, 2)
    )
    blocks = {name: encoder.streams[name].blocks[1] for name in ("video", "audio")}
    tokens = {"video": jnp.asarray(video), "audio": jnp.asarray(audio)}
    weights = jnp.asarray([[0.5], [0.5]])
    got, bottleneck = fuse(blocks, tokens, jnp.asarray(shared), weights)

    from_video = by_hand(blocks["video"], np.concatenate([video[0], shared[0]]))
    from_audio = by_hand(blocks["audio"], np.concatenate([audio[0], shared[0]]))
    np.testing.assert_allclose(got["video"][0], from_video[:5], atol=2e-5)
    np.testing.assert_allclose(got["audio"][0], from_audio[:7], atol=2e-5)
    mean = (from_video[5:] + from_audio[7:]) / 2
    np.testing.assert_allclose(bottleneck[0], mean, atol=2e-5)


def test_the_whole_encoder_is_its_layers(encoder: AudioVisualEncoder) -> None:
    video, audio = inputs(1)
    names = ("video", "audio")
    streams = [encoder.streams[name] for name in names]
    patches = jnp.asarray(np.swapaxes(audio, 1, 2)[..., None])
    rows = [np.asarray(streams[0].embed(jnp.asarray(video)))[0],
            np.asarray(streams[1].embed(patches))[0]]  # fmt: skip
    rows = [by_hand(s.blocks[0], r) for s, r in zip(streams, rows, strict=True)]
    shared = np.asarray(encoder.bottleneck[...])
    for layer in (1, 2):
        seen = [by_hand(s.blocks[layer], np.concatenate([r, shared]))
                for s, r in zip(streams, rows, strict=True)]  # fmt: skip
        rows = [r[:-2] for r in seen]
        shared = (seen[0][-2:] + seen[1][-2:]) / 2
    cls = [norm(r[0], streams[0].norm) for r in rows]
    np.testing.assert_allclose(
        encoder(ClipInputs(video, audio))[0], (cls[0] + cls[1]) / 2, atol=5e-5
    )


def test_a_missing_modality_says_nothing(encoder: AudioVisualEncoder) -> None:
    video, audio = inputs()
    has_audio = jnp.asarray([True, False, True])
    with_zeros = audio * np.asarray([1, 0, 1], np.float32)[:, None, None]
    heard = encoder(ClipInputs(video, audio, None, has_audio))
    masked = encoder(ClipInputs(video, with_zeros, None, has_audio))
    np.testing.assert_array_equal(heard, masked)
    # It is not the same as silence, and the others are as they would be alone.
    silent = encoder(ClipInputs(video, with_zeros))
    assert np.abs(np.asarray(silent - masked)[1]).max() > 1e-3
    np.testing.assert_allclose(silent[0], masked[0], atol=1e-5)
    alone = encoder(ClipInputs(video[1:2], audio[1:2] + 5, None, has_audio[1:2]))
    np.testing.assert_allclose(masked[1], alone[0], atol=1e-5)


def test_each_modality_can_be_the_missing_one(encoder: AudioVisualEncoder) -> None:
    video, audio = inputs(2)
    neither = jnp.asarray([False, True])
    seen = encoder(ClipInputs(video, audio, has_video=neither))
    other = encoder(ClipInputs(video[::-1], audio, has_video=neither))
    np.testing.assert_array_equal(seen[0], other[0])
    nothing = encoder(ClipInputs(video, audio, neither, neither))
    assert not np.asarray(nothing[0]).any() and np.asarray(nothing[1]).any()


@pytest.mark.parametrize("modality", ["video", "audio"])
def test_one_modality_is_a_plain_transformer(modality: str) -> None:
    config = dataclasses.replace(TINY, modalities=(modality,))
    encoder = AudioVisualEncoder(config, nnx.Rngs(0))
    assert not hasattr(encoder, "bottleneck")
    given = dict(zip(("video", "audio"), inputs(2), strict=True))
    rows = {"video": given["video"],
            "audio": np.swapaxes(given["audio"], 1, 2)[..., None]}  # fmt: skip
    plain = encoder.streams[modality](jnp.asarray(rows[modality]))[:, 0]
    got = encoder(ClipInputs(**{modality: given[modality]}))
    np.testing.assert_allclose(got, plain, atol=1e-6)


def test_the_paper_has_these_tokens() -> None:
    config = AudioVisualConfig()
    assert (config.video.tokens, config.audio.tokens) == (1 + 3136, 1 + 400)
    assert (config.bottlenecks, config.fusion_layer) == (4, 8)


def test_unknown_modalities_are_refused() -> None:
    with pytest.raises(InputError, match="smell"):
        dataclasses.replace(TINY, modalities=("smell",))
