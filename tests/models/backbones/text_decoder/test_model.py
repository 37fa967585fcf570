import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from clipseed.errors import InputError
from models.backbones.text_decoder.gpt2 import gpt2_config, load_gpt2
from models.backbones.text_decoder.model import Context, TextDecoder, TextDecoderConfig
from models.backbones.text_decoder.opt import load_opt, opt_config
from models.nn.attention import Compute
from tests.support.reference import PARITY, jitted, needs_references

LOADERS = {"gpt2": load_gpt2, "opt": load_opt}
TINY = {"hidden": 16, "layers": 2, "heads": 2, "mlp": 24, "vocabulary": 11}


def read_whole(decoder: TextDecoder, ids: jax.Array, mask: jax.Array) -> jax.Array:
    return decoder(ids, decoder.start(*ids.shape), mask)[0]


def reference(name: str) -> tuple[jax.Array, jax.Array, np.ndarray]:
    """Return ids, mask and logits."""
    io = np.load(PARITY / name / "io.npz")
    ids = jnp.asarray(io["in.input_ids"])
    mask = io.get("in.attention_mask", np.ones(ids.shape))
    return ids, jnp.asarray(mask, bool), io["out.logits"]


@needs_references
@pytest.mark.parametrize("name", LOADERS)
def test_reproduces_the_reference(name: str) -> None:
    ids, mask, wanted = reference(name)
    decoder = LOADERS[name](str(PARITY / name))
    got = jitted(decoder, read_whole)(ids, mask)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@needs_references
def test_weights_in_several_files_are_one_model(tmp_path: Path) -> None:
    tensors = load_file(PARITY / "gpt2" / "model.safetensors")
    files = {"model-1.safetensors": {}, "model-2.safetensors": {}}  # type: ignore[var-annotated]
    for number, (name, array) in enumerate(sorted(tensors.items())):
        files[f"model-{number % 2 + 1}.safetensors"][name] = array
    for file, part in files.items():
        save_file(part, tmp_path / file)
    where = {name: file for file, part in files.items() for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": where})
    )
    shutil.copy(PARITY / "gpt2" / "config.json", tmp_path)
    ids, mask, wanted = reference("gpt2")
    got = jitted(load_gpt2(str(tmp_path)), read_whole)(ids, mask)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("context", ["none", "cross", "prefix"])
def test_a_text_read_in_parts_is_the_text(context: str) -> None:
    config = TextDecoderConfig(
        **TINY,  # type: ignore[arg-type]
        max_tokens=8,
        context=context,  # type: ignore[arg-type]
        context_width=16,
        post_norm=context == "prefix",
    )
    decoder = TextDecoder(config, nnx.Rngs(0))
    random = np.random.default_rng(0)
    ids = jnp.asarray(random.integers(0, 11, (4, 6)))
    about = None
    if context != "none":
        about = Context(jnp.asarray(random.normal(size=(2, 3, 16)), jnp.float32))

    def read(decoder: TextDecoder) -> tuple[jax.Array, ...]:
        whole, _ = decoder(ids, decoder.start(4, 6, about))
        cache, parts = decoder.start(4, 8, about), []
        for part in (ids[:, :3], ids[:, 3:4], ids[:, 4:]):
            logits, cache = decoder(part, cache)
            parts.append(logits)
        last = None if about is None else Context(about.tokens[1:])
        own, _ = decoder(ids[2:], decoder.start(2, 6, last))
        return whole, jnp.concatenate(parts, axis=1), own

    whole, in_parts, own = jitted(decoder, read)()
    np.testing.assert_allclose(in_parts, whole, atol=1e-5)
    # Rows 0 and 1 are about the first picture, 2 and 3 about the second.
    np.testing.assert_allclose(own, whole[2:], atol=1e-5)
    if about is not None:
        first = Context(about.tokens[:1])
        alike = jitted(decoder, lambda d: d(ids[2:], d.start(2, 6, first))[0])()
        assert np.abs(alike - own).max() > 1e-3


@pytest.mark.parametrize("context", ["cross", "prefix"])
def test_what_a_context_lacks_is_not_looked_at(context: str) -> None:
    config = TextDecoderConfig(
        **TINY,  # type: ignore[arg-type]
        max_tokens=8,
        context=context,  # type: ignore[arg-type]
        context_width=16,
    )
    decoder = TextDecoder(config, nnx.Rngs(0), Compute(remat=True))
    random = np.random.default_rng(0)
    ids = jnp.asarray(random.integers(0, 11, (4, 6)))
    tokens = jnp.asarray(random.normal(size=(2, 3, 16)), jnp.float32)
    mask = jnp.array([[True, True, True], [True, False, True]])

    def read(decoder: TextDecoder, tokens: jax.Array, mask: Any) -> jax.Array:
        about = Context(tokens, mask)
        return decoder(ids, decoder.start(4, 6, about))[0]

    run = jitted(decoder, read)
    masked, whole = run(tokens, mask), run(tokens, jnp.ones((2, 3), bool))
    changed = run(tokens.at[1, 1].set(100.0), mask)
    np.testing.assert_array_equal(changed, masked)
    np.testing.assert_array_equal(whole[:2], masked[:2])
    assert np.abs(whole[2:] - masked[2:]).max() > 1e-3
    np.testing.assert_allclose(whole, jitted(decoder, read)(tokens, None), atol=1e-6)


def test_a_text_does_not_see_what_it_is_filled_up_with() -> None:
    decoder = TextDecoder(TextDecoderConfig(**TINY, max_tokens=8), nnx.Rngs(0))  # type: ignore[arg-type]
    text = jnp.array([[3, 4, 5]])
    wanted = jitted(decoder, read_whole)(text, jnp.ones((1, 3), bool))
    filled = jnp.array([[9, 9, 3, 4, 5]])
    mask = jnp.array([[False, False, True, True, True]])
    got = jitted(decoder, read_whole)(filled, mask)
    np.testing.assert_allclose(got[:, 2:], wanted, atol=1e-5)


def test_refuses_texts_that_are_too_long() -> None:
    decoder = TextDecoder(TextDecoderConfig(**TINY, max_tokens=8), nnx.Rngs(0))  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        decoder.start(1, 9)
    assert caught.value.reason == "bad_model_config"


@pytest.mark.parametrize(
    "published",
    [
        {"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True},
        {"model_type": "gpt2", "tie_word_embeddings": False},
        {"model_type": "gpt2", "n_embd": "wide"},
        {"model_type": "opt", "enable_bias": False},
    ],
)
def test_refuses_another_kind_of_model(published: dict[str, object]) -> None:
    read = gpt2_config if published["model_type"] == "gpt2" else opt_config
    with pytest.raises(InputError) as caught:
        read(published)
    assert caught.value.reason == "bad_checkpoint"


def test_the_published_settings_of_the_smallest_models() -> None:
    assert gpt2_config({}) == TextDecoderConfig()
    opt = opt_config({"word_embed_proj_dim": 512, "hidden_size": 1024,
                      "num_attention_heads": 16, "ffn_dim": 4096,
                      "do_layer_norm_before": False})  # fmt: skip
    assert (opt.word_width, opt.post_norm, opt.final_norm) == (512, True, False)
    assert (opt.position_offset, opt.vocabulary, opt.activation) == (2, 50272, "relu")
