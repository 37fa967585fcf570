import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from clipseed.errors import InputError
from models.backbones.vit.model import ViT, ViTConfig, spectrogram_input
from models.backbones.vit.weights import load_vit
from models.nn.attention import Compute
from models.pretrained.load_weights import parameters
from tests.support.paths import DATA

PARITY = DATA / "parity"
needs_parity = pytest.mark.skipif(
    not PARITY.is_dir(), reason="needs the reference checkpoints of shared/data/parity"
)
TINY = ViTConfig(
    hidden=32, layers=2, heads=4, mlp=48, input_size=(32, 32), norm_epsilon=1e-6
)


def pictures(config: ViTConfig, n: int = 2) -> jax.Array:
    shape = (n, *config.input_size, config.channels)
    return jax.random.normal(jax.random.key(1), shape)


def run(vit: ViT, inputs: jax.Array) -> np.ndarray:
    return np.asarray(nnx.jit(lambda vit, x: vit(x))(vit, inputs), np.float32)


@needs_parity
def test_vit_reproduces_the_reference() -> None:
    io = np.load(PARITY / "vit" / "io.npz")
    vit = load_vit(str(PARITY / "vit"))
    got = run(vit, np.moveaxis(io["in.pixel_values"], 1, -1))
    np.testing.assert_allclose(got, io["out.last_hidden_state"], atol=1e-4)


@needs_parity
def test_ast_reproduces_the_reference() -> None:
    io = np.load(PARITY / "ast" / "io.npz")
    vit = load_vit(str(PARITY / "ast"))
    assert vit.config.extra_tokens == 2
    got = run(vit, spectrogram_input(io["in.input_values"]))
    np.testing.assert_allclose(got, io["out.last_hidden_state"], atol=1e-4)


@needs_parity
def test_bfloat16_stays_near_the_reference_with_float32_parameters() -> None:
    io = np.load(PARITY / "vit" / "io.npz")
    vit = load_vit(str(PARITY / "vit"), compute=Compute(dtype=jnp.bfloat16))
    assert {p.dtype for p in parameters(vit).values()} == {jnp.dtype("float32")}
    got = run(vit, np.moveaxis(io["in.pixel_values"], 1, -1))
    error = np.abs(got - io["out.last_hidden_state"])
    assert 0.001 < error.mean() < 0.02  # it did compute in 8 bits of mantissa


@needs_parity
def test_one_picture_checkpoint_serves_both_streams() -> None:
    rgb = load_vit(str(PARITY / "vit"))
    config = dataclasses.replace(rgb.config, input_size=(128, 800), channels=1)
    sound = load_vit(str(PARITY / "vit"), config)
    gray = jax.random.normal(jax.random.key(0), (1, 16, 16, 1))
    np.testing.assert_allclose(
        sound.patches(gray), rgb.patches(jnp.repeat(gray, 3, -1)), atol=1e-5
    )
    np.testing.assert_array_equal(
        sound.blocks[3].mlp.expand.kernel[...], rgb.blocks[3].mlp.expand.kernel[...]
    )
    assert sound.positions.shape == (1 + 8 * 50, 64)
    assert run(sound, pictures(config, 1)).shape == (1, 401, 64)


@needs_parity
def test_a_picture_checkpoint_sees_the_central_frame_of_tubelets() -> None:
    rgb = load_vit(str(PARITY / "vit"))
    config = dataclasses.replace(rgb.config, input_size=(4, 64, 64), patch=(2, 16, 16))
    video = load_vit(str(PARITY / "vit"), config)
    clip = pictures(config, 1)
    seen = video.embed(clip)[0, 1:].reshape(2, 16, 64)
    for tubelet, frame in enumerate((1, 3)):
        wanted = rgb.embed(clip[:, frame])[0, 1:]
        np.testing.assert_allclose(seen[tubelet], wanted, atol=1e-5)


def test_blocks_called_one_by_one_are_the_model() -> None:
    vit = ViT(TINY, nnx.Rngs(0))
    tokens = vit.embed(pictures(TINY))
    for block in vit.blocks:
        tokens = block(tokens)
    np.testing.assert_allclose(vit.norm(tokens), vit(pictures(TINY)), atol=1e-5)


def test_masked_tokens_are_not_looked_at() -> None:
    block = ViT(TINY, nnx.Rngs(0)).blocks[0]
    tokens = jax.random.normal(jax.random.key(0), (2, 5, 32))
    mask = jnp.arange(5) < jnp.array([[3], [5]])
    np.testing.assert_allclose(
        block(tokens, mask)[0, :3], block(tokens[:1, :3])[0], atol=1e-5
    )
    np.testing.assert_allclose(block(tokens, mask)[1], block(tokens)[1], atol=1e-5)


def test_rematerialization_changes_no_gradient() -> None:
    inputs = pictures(TINY)

    def gradients(remat: bool) -> dict[str, np.ndarray]:
        vit = ViT(TINY, nnx.Rngs(0), Compute(remat=remat))
        grads = nnx.jit(nnx.grad(lambda vit: (vit(inputs)[:, 0] ** 3).sum()))(vit)
        return {str(path): np.asarray(g[...]) for path, g in nnx.to_flat_state(grads)}

    kept, again = gradients(False), gradients(True)
    assert max(np.abs(g).max() for g in kept.values()) > 0.1
    for path, gradient in kept.items():
        np.testing.assert_allclose(
            again[path], gradient, rtol=1e-4, atol=1e-3, err_msg=path
        )


def test_rematerialization_recomputes_every_block() -> None:
    def remats(remat: bool) -> int:
        state = nnx.split(ViT(TINY, nnx.Rngs(0), Compute(remat=remat)))
        jaxpr = jax.make_jaxpr(lambda s, x: nnx.merge(state[0], s)(x))
        return str(jaxpr(state[1], pictures(TINY))).count("remat2[")

    assert remats(False) == 0
    assert remats(True) == TINY.layers


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"heads": 5}, "does not split over 5 heads"),
        ({"activation": "swish"}, "unknown activation 'swish'"),
        ({"input_size": (8, 32)}, "holds no patch"),
        ({"patch": (16,)}, "same number of axes"),
    ],
)
def test_refuses_sizes_that_do_not_fit(changes: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        dataclasses.replace(TINY, **changes)
