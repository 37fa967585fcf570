import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from clipseed.errors import InputError
from models.backbones.bert.model import Bert, BertConfig, bert_config, load_bert
from models.nn.attention import Compute
from tests.support.paths import DATA

PARITY = DATA / "parity" / "bert"
needs_parity = pytest.mark.skipif(
    not PARITY.is_dir(), reason="needs the reference checkpoints of shared/data/parity"
)
TINY = BertConfig(
    hidden=32, layers=2, heads=4, mlp=48, vocabulary=50, max_tokens=9, types=1
)


def run(bert: Bert, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    encode = nnx.jit(lambda bert, ids, mask: bert(ids, mask))
    return np.asarray(encode(bert, jnp.asarray(ids), jnp.asarray(mask)), np.float32)


@needs_parity
def test_reproduces_the_reference() -> None:
    io = np.load(PARITY / "io.npz")
    ids, mask = io["in.input_ids"], io["in.attention_mask"].astype(bool)
    assert not mask.all()
    got = run(load_bert(str(PARITY)), ids, mask)
    wanted = io["out.last_hidden_state"]
    np.testing.assert_allclose(got[mask], wanted[mask], atol=1e-4)


@needs_parity
def test_loads_what_was_saved_with_heads_and_old_names(tmp_path: Path) -> None:
    tensors = {
        "bert."
        + name.replace("Norm.weight", "Norm.gamma").replace(
            "Norm.bias", "Norm.beta"
        ): array
        for name, array in load_file(PARITY / "model.safetensors").items()
    }
    assert "bert.embeddings.LayerNorm.gamma" in tensors
    tensors["cls.predictions.bias"] = np.zeros(128, np.float32)
    tensors["bert.embeddings.position_ids"] = np.arange(40)[None]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((PARITY / "config.json").read_text())
    ids, mask = np.full((1, 4), 7), np.ones((1, 4), bool)
    np.testing.assert_array_equal(
        run(load_bert(str(tmp_path)), ids, mask), run(load_bert(str(PARITY)), ids, mask)
    )


def test_what_follows_the_end_of_a_text_is_not_seen() -> None:
    bert = Bert(TINY, nnx.Rngs(0))
    ids = np.array([[5, 6, 7, 0, 0], [5, 6, 7, 8, 9]])
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]], bool)
    first, second = run(bert, ids, mask)
    np.testing.assert_allclose(first[:3], second[:3], atol=1e-6)
    assert np.abs(run(bert, ids, np.ones_like(mask))[0, 0] - first[0]).max() > 1e-3


def test_bfloat16_with_rematerialization_has_float32_gradients() -> None:
    bert = Bert(TINY, nnx.Rngs(0), Compute(dtype=jnp.bfloat16, remat=True))
    ids, mask = jnp.array([[5, 6, 7]]), jnp.ones((1, 3), bool)

    def loss(bert: Bert) -> jax.Array:
        return (bert(ids, mask)[:, 0].astype(jnp.float32) ** 3).sum()

    gradients = jax.tree.leaves(nnx.jit(nnx.grad(loss))(bert))
    assert {g.dtype for g in gradients} == {jnp.dtype("float32")}
    assert all(bool(jnp.isfinite(g).all()) for g in gradients)


def test_refuses_texts_that_are_too_long() -> None:
    with pytest.raises(InputError, match="texts of 10 tokens do not fit a model for 9"):
        run(Bert(TINY, nnx.Rngs(0)), np.zeros((1, 10), int), np.ones((1, 10), bool))


def test_refuses_other_kinds_of_positions() -> None:
    with pytest.raises(InputError, match="'relative_key'"):
        bert_config({"position_embedding_type": "relative_key"})


def test_published_defaults_are_those_of_bert_base() -> None:
    assert bert_config({}) == BertConfig()
    changed = bert_config(json.loads('{"hidden_size": 64, "num_attention_heads": 4}'))
    assert changed == dataclasses.replace(BertConfig(), hidden=64, heads=4)
